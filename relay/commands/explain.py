"""`relay explain`: tells why an order group is paid, or why it is not, and what became of its money and goods."""

import argparse
import re
import sys
import uuid
from typing import Any, Final

from typing_extensions import TypedDict

from relay.commands import answers, console, terminal
from relay.commands.endings import NO, OK, STATUSES
from relay.commands.exception_rows import without_metadata
from relay.config import Settings
from relay.core.currency import format_amount
from relay.data_api.records import Clients

NAME: Final = "explain"
HELP: Final = "tell an order group's story: events, decisions, rules, refunds, ledger"
EPILOG: Final = f"""\
examples:
  relay explain 3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10
  relay explain re_3PqWmT2eZvKYlo2C1gXJk4bQ
  relay explain 3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10 --json | jq .verdict

ID is an order group's, order's or item's, a payment intent's (pi_), session's (cs_), event's (evt_), refund's (re_) or
dispute's (dp_, du_), or an exception's number. A group that does not exist is explained too, because payments may have
come for it; the exit status is 1 then, and where nothing is known of the ID.
Needs the same settings as `relay serve`; Stripe is not called.
{STATUSES}
"""
_FUNCTION: Final = "explain_order_group"
_FINDER: Final = "find_order_groups"
# An exception's number, or an id of Stripe's; the sweep makes event ids of its own out of a session's.
_ID: Final = re.compile(r"[0-9]{1,18}|[a-z]{2,8}_[A-Za-z0-9_]{1,250}")


class OrderGroup(TypedDict):
    """The group as it is now; the amount in major units."""

    status: str
    currency: str
    total_amount: str
    refunded_amount: str
    paid_at: str | None
    stripe_webhook_event_id: str | None
    stripe_checkout_session_id: str | None
    stripe_payment_intent_id: str | None


class Order(TypedDict):
    """One seller's order in the group; the amount in major units."""

    id: str
    seller_id: str
    status: str
    total_amount: str
    items: list[Any]


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
    order_item_id: str | None
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


class Found(TypedDict):
    """What `find_order_groups` returns: what an id is about."""

    order_groups: list[str]
    exceptions: list[int]
    refunds: list[Refund]
    disputes: list[Dispute]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("id", metavar="ID", type=_id)
    parser.add_argument("--json", action="store_true", help="print the story as JSON")
    parser.add_argument("--metadata", action="store_true", help="include the sessions' metadata, as the shop set them")


def run(arguments: argparse.Namespace) -> int:
    """Print the story of each order group that the id is about. Raises SettingsError."""

    async def work(_: Settings, clients: Clients) -> int:
        async def explain(group: str) -> Story:
            answer = await clients.records.call(_FUNCTION, {"p_order_group_id": group})
            return answers.read(Story, answer if arguments.metadata else without_metadata(answer), of=_FUNCTION)

        own = await explain(arguments.id) if _is_uuid(arguments.id) else None
        if own and (own["order_group"] or own["timeline"]):
            found, stories = None, [own]
        else:
            answer = await clients.records.call(_FINDER, {"p_id": arguments.id})
            found = answers.read(Found, answer, of=_FINDER)
            stories = [await explain(group) for group in found["order_groups"]] or ([own] if own else [])
        if arguments.json:
            console.write_json(stories[0] if len(stories) == 1 else {**(found or {}), "stories": stories})
        else:
            sys.stdout.write((_about(found) if found else "") + "\n".join(map(_tell, stories)))
        return OK if any(story["order_group"] for story in stories) else NO

    return console.run(work)


def _id(argument: str) -> str:
    """Read an argument that must be an id. Raises argparse.ArgumentTypeError."""
    if _is_uuid(argument):
        return console.order_group_id(argument)
    if not _ID.fullmatch(argument):
        raise argparse.ArgumentTypeError(
            "must be a UUID, an id of Stripe's such as pi_… or re_…, or an exception's number"
        )
    return argument


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _about(found: Found) -> str:
    """What an id is about, besides the stories of its order groups."""
    parts = [f"refund {one['refund_id']}, {_money_back(one)}\n" for one in found["refunds"]]
    parts += [f"dispute {one['dispute_id']}, {_money_back(one)}\n" for one in found["disputes"]]
    if not found["order_groups"]:
        parts += [f"exception {number}: relay exceptions show {number}\n" for number in found["exceptions"]]
        parts.append("No order group has it.\n")
    return "".join(terminal.clean(part.rstrip("\n")) + "\n" for part in parts)


def _money_back(one: Back) -> str:
    why = f" ({one['reason']})" if one["reason"] else ""
    return f"{one['status']}, {format_amount(one['amount'], one['currency'])} of {one['payment_intent_id']}{why}"


def _tell(story: Story) -> str:
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
                    ("checkout session", group["stripe_checkout_session_id"]),
                    ("payment intent", group["stripe_payment_intent_id"]),
                ]
            )
        )
    if story["orders"]:
        rows = [
            (order["id"], order["status"], order["total_amount"], len(order["items"]), order["seller_id"])
            for order in story["orders"]
        ]
        parts.append("\n" + console.fit_table(("order", "status", "total", "items", "seller"), rows))
    parts.append("\nWhat happened\n" if story["timeline"] else "\nNothing has happened.\n")
    parts += [_entry(entry) for entry in story["timeline"]]
    return "".join(parts)


def _entry(entry: Entry) -> str:
    """One entry of the timeline as text. Raises NoVerdict where its shape is unexpected."""
    match entry["kind"]:
        case "stripe_event":
            event = answers.read(Event, entry, of=_FUNCTION)
            what = (
                f"{event['outcome']}: {event['event_type']} {event['stripe_event_id']} ({event['source']}), "
                f"{format_amount(event['amount'], event['currency'])}, session {event['checkout_session_id']}"
            )
        case "payment_exception":
            told = answers.read(ExceptionEntry, entry, of=_FUNCTION)
            what = (
                f"exception {told['exception_id']}, {told['resolution'] or told['status']}: {told['reason']}, "
                f"event {told['stripe_event_id']}, {terminal.counted(told['attempts'], 'attempt')}, "
                f"last {terminal.when(told['last_seen_at'])}"
            )
            if told["resolved_by"]:
                what += f"; by {told['resolved_by']}: {told['note'] or 'no note'}"
        case "inventory_ledger":
            movement = answers.read(Movement, entry, of=_FUNCTION)
            item = f", item {movement['order_item_id']}" if movement["order_item_id"] else ""
            what = (
                f"stock: {movement['quantity_delta']:+d} of product {movement['product_id']} "
                f"(ledger {movement['ledger_id']}{item})"
            )
            if movement["entry_type"] != "order_commit":
                refund = f", refund {movement['stripe_refund_id']}" if movement["stripe_refund_id"] else ""
                why = f"{movement['recorded_by'] or '?'}: {movement['note'] or 'no note'}"
                what = f"{movement['entry_type'].replace('_', ' ')}{refund}, by {why}; {what}"
        case "status_change":
            step = answers.read(Step, entry, of=_FUNCTION)
            whose = f"order {step['order_id']}" if step["order_id"] else "order group"
            what = f"{whose}: {step['from_status']} to {step['to_status']}, by {step['changed_by']}"
            if step["note"]:
                what += f": {step['note']}"
        case "refund" | "dispute" as kind:
            back = answers.read(BackStep, entry, of=_FUNCTION)
            named = answers.read(Refund, entry, of=_FUNCTION)["refund_id"] if kind == "refund" else None
            named = named or answers.read(Dispute, entry, of=_FUNCTION)["dispute_id"]
            path = f"{back['from_status']} to {back['to_status']}" if back["from_status"] else back["to_status"]
            event = f", event {back['stripe_event_id']}" if back["stripe_event_id"] else ""
            what = (
                f"{kind} {named}: {path}, {format_amount(back['amount'], back['currency'])} of "
                f"{back['payment_intent_id']}, by {back['source']}{event}: {back['reason'] or 'no reason'}"
            )
            if back["set_aside_reason"]:
                what += f"; set aside: {back['set_aside_reason']}"
        case "metadata_erased":
            erasure = answers.read(Erasure, entry, of=_FUNCTION)
            what = f"metadata erased by {erasure['erased_by']}: {erasure['note']}"
        case other:
            what = other.replace("_", " ")
    return f"  {terminal.when(entry['at'])}  {terminal.clean(what)}\n{'':27}because {terminal.clean(entry['rule'])}\n"
