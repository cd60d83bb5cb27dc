"""The story of an order group, as `explain_order_group` tells it, in words for the terminal."""

from collections.abc import Mapping
from typing import Final

from typing_extensions import TypedDict

from relay.commands import answers, console, terminal
from relay.core.currency import format_amount

FUNCTION: Final = "explain_order_group"


class OrderGroup(TypedDict):
    """The group as it is now; the amount in major units."""

    status: str
    currency: str
    total_amount: str
    refunded_amount: str
    paid_at: str | None
    stripe_webhook_event_id: str | None
    stripe_webhook_event_created_at: str | None
    stripe_checkout_session_id: str | None
    stripe_payment_intent_id: str | None


class Item(TypedDict):
    """An item of an order, in pieces; `oversold` is what is missing of its product now."""

    product_id: str
    sku: str
    title: str
    quantity: int
    returned: int
    oversold: int


class Order(TypedDict):
    """One seller's order in the group; the amount in major units."""

    id: str
    seller_id: str
    seller: str
    status: str
    total_amount: str
    items: list[Item]


class Entry(TypedDict):
    """One thing that happened, and the rule that decided it. The kind says which further keys there are."""

    at: str
    kind: str
    rule: str | None


class Event(Entry):
    """A recorded Stripe event of the group; the amount in major units."""

    outcome: str
    event_type: str
    stripe_event_id: str
    source: str
    amount: str | None
    currency: str | None
    checkout_session_id: str | None


class ExceptionEntry(Entry):
    """A payment exception of the group."""

    exception_id: int
    status: str
    reason: str
    attempts: int
    last_seen_at: str
    stripe_event_id: str
    resolution: str | None
    resolved_by: str | None
    note: str | None


class Movement(Entry):
    """A ledger entry: a change of a product's stock, in pieces; an adjustment has no item."""

    ledger_id: int
    entry_type: str
    quantity_delta: int
    product_id: str
    stripe_refund_id: str | None
    recorded_by: str | None
    note: str | None


class Step(Entry):
    """A step of the group, or of one of its orders."""

    order_id: str | None
    from_status: str
    to_status: str
    changed_by: str
    note: str | None


class Back(TypedDict):
    """A refund or dispute as it is now; the amount in major units, the reason Stripe's."""

    payment_intent_id: str
    amount: str | None
    currency: str | None
    status: str
    reason: str | None
    source: str


class Refund(Back):
    """A refund of the group's payment, or of one that was set aside."""

    refund_id: str


class Dispute(Back):
    """A dispute about the group's payment, or about one that was set aside."""

    dispute_id: str


class BackStep(Entry, Back):
    """A status that a refund or dispute has reached."""

    from_status: str | None
    to_status: str
    stripe_event_id: str | None
    set_aside_reason: str | None


class Erasure(Entry):
    """The session metadata of the group were erased."""

    erased_by: str
    note: str


class Story(TypedDict):
    """What `explain_order_group` returns."""

    order_group_id: str
    verdict: str
    order_group: OrderGroup | None
    orders: list[Order]
    timeline: list[Entry]


def tell(story: Story) -> str:
    """The story as text. Raises NoVerdict where an entry's shape is unexpected."""
    group = story["order_group"]
    parts = [f"Order group {terminal.clean(story['order_group_id'])}\n{terminal.clean(story['verdict'])}\n"]
    if group:
        parts.append(
            "\n"
            + terminal.facts(
                [
                    ("status", group["status"]),
                    ("total", format_amount(group["total_amount"], group["currency"])),
                    ("refunded", format_amount(group["refunded_amount"], group["currency"])),
                    ("paid at", terminal.when(group["paid_at"])),
                    ("event", group["stripe_webhook_event_id"]),
                    ("event made at", terminal.when(group["stripe_webhook_event_created_at"])),
                    ("checkout session", group["stripe_checkout_session_id"]),
                    ("payment intent", group["stripe_payment_intent_id"]),
                ]
            )
        )
    if story["orders"]:
        currency = group["currency"] if group else None
        rows = [
            (
                order["seller"],
                order["status"],
                format_amount(order["total_amount"], currency),
                terminal.counted(len(order["items"]), "item"),
                order["id"],
            )
            for order in story["orders"]
        ]
        parts.append("\n" + console.fit_table(("seller", "status", "total", "items", "order"), rows))
    items = [item for order in story["orders"] for item in order["items"]]
    parts += [
        f"oversold: {terminal.clean(_product(item))}: {terminal.counted(item['oversold'], 'piece')} missing\n"
        for item in items
        if item["oversold"]
    ]
    products = {item["product_id"]: _product(item) for item in items}
    parts.append("\nWhat happened\n" if story["timeline"] else "\nNothing has happened.\n")
    parts += [_entry(entry, products) for entry in story["timeline"]]
    return "".join(parts)


def _product(item: Item) -> str:
    """A product as it was sold: "MUG-1, Mug"."""
    return f"{item['sku']}, {item['title']}"


def _entry(entry: Entry, products: Mapping[str, str]) -> str:
    """One entry of the timeline as text. Raises NoVerdict where its shape is unexpected."""
    match entry["kind"]:
        case "stripe_event":
            event = answers.read(Event, entry, of=FUNCTION)
            what = (
                f"{event['outcome']}: {event['event_type']} {event['stripe_event_id']} ({event['source']}), "
                f"{format_amount(event['amount'], event['currency'])}, session {event['checkout_session_id']}"
            )
        case "payment_exception":
            told = answers.read(ExceptionEntry, entry, of=FUNCTION)
            what = (
                f"exception {told['exception_id']}, {told['resolution'] or told['status']}: {told['reason']}, "
                f"event {told['stripe_event_id']}, {terminal.counted(told['attempts'], 'attempt')}, "
                f"last {terminal.when(told['last_seen_at'])}"
            )
            if told["resolved_by"]:
                what += f"; by {told['resolved_by']}: {told['note'] or 'no note'}"
        case "inventory_ledger":
            movement = answers.read(Movement, entry, of=FUNCTION)
            product = products.get(movement["product_id"], f"product {movement['product_id']}")
            what = f"stock: {movement['quantity_delta']:+d} of {product} (ledger {movement['ledger_id']})"
            if movement["entry_type"] != "order_commit":
                refund = f", refund {movement['stripe_refund_id']}" if movement["stripe_refund_id"] else ""
                why = f"{movement['recorded_by'] or '?'}: {movement['note'] or 'no note'}"
                what = f"{movement['entry_type'].replace('_', ' ')}{refund}, by {why}; {what}"
        case "status_change":
            step = answers.read(Step, entry, of=FUNCTION)
            whose = f"order {step['order_id']}" if step["order_id"] else "order group"
            what = f"{whose}: {step['from_status']} to {step['to_status']}, by {step['changed_by']}"
            if step["note"]:
                what += f": {step['note']}"
        case "refund" | "dispute" as kind:
            back = answers.read(BackStep, entry, of=FUNCTION)
            named = answers.read(Refund, entry, of=FUNCTION)["refund_id"] if kind == "refund" else None
            named = named or answers.read(Dispute, entry, of=FUNCTION)["dispute_id"]
            path = f"{back['from_status']} to {back['to_status']}" if back["from_status"] else back["to_status"]
            brought = f", event {back['stripe_event_id']}" if back["stripe_event_id"] else ""
            what = (
                f"{kind} {named}: {path}, {format_amount(back['amount'], back['currency'])} of "
                f"{back['payment_intent_id']}, by {back['source']}{brought}: {back['reason'] or 'no reason'}"
            )
            if back["set_aside_reason"]:
                what += f"; set aside: {back['set_aside_reason']}"
        case "metadata_erased":
            erasure = answers.read(Erasure, entry, of=FUNCTION)
            what = f"metadata erased by {erasure['erased_by']}: {erasure['note']}"
        case other:
            what = other.replace("_", " ")
    return f"  {terminal.when(entry['at'])}  {terminal.clean(what)}\n{'':27}because {terminal.clean(entry['rule'])}\n"
