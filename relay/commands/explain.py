"""`relay explain`: tells why an order group is paid, or why it is not."""

import argparse
import sys
from typing import Any, Final

from typing_extensions import TypedDict

from relay.commands import answers, console, terminal
from relay.commands.endings import NO, OK, STATUSES
from relay.commands.exception_rows import without_metadata
from relay.config import Settings
from relay.core.currency import format_amount
from relay.data_api.records import Clients

NAME: Final = "explain"
HELP: Final = "tell an order group's story: events, decisions, rules, ledger"
EPILOG: Final = f"""\
examples:
  relay explain 3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10
  relay explain 3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10 --json | jq .verdict

A group that does not exist is explained too, because payments may have come for it; the exit status is 1 then.
Needs the same settings as `relay serve`; Stripe is not called.
{STATUSES}
"""
_FUNCTION: Final = "explain_order_group"


class OrderGroup(TypedDict):
    """The group as it is now; the amount in major units."""

    status: str
    currency: str
    total_amount: str
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
    """A ledger entry: a change of a product's stock, in pieces."""

    ledger_id: int
    quantity_delta: int
    product_id: str
    order_item_id: str


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("order_group_id", metavar="ORDER_GROUP_ID", type=console.order_group_id)
    parser.add_argument("--json", action="store_true", help="print the story as JSON")
    parser.add_argument("--metadata", action="store_true", help="include the sessions' metadata, as the shop set them")


def run(arguments: argparse.Namespace) -> int:
    """Print the story of the order group. Raises SettingsError."""

    async def work(_: Settings, clients: Clients) -> int:
        answer = await clients.records.call(_FUNCTION, {"p_order_group_id": arguments.order_group_id})
        story = answers.read(Story, answer if arguments.metadata else without_metadata(answer), of=_FUNCTION)
        if arguments.json:
            console.write_json(story)
        else:
            sys.stdout.write(_tell(story))
        return OK if story["order_group"] else NO

    return console.run(work)


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
            what = (
                f"stock: {movement['quantity_delta']:+d} of product {movement['product_id']} "
                f"(ledger {movement['ledger_id']}, item {movement['order_item_id']})"
            )
        case "metadata_erased":
            erasure = answers.read(Erasure, entry, of=_FUNCTION)
            what = f"metadata erased by {erasure['erased_by']}: {erasure['note']}"
        case kind:
            what = kind.replace("_", " ")
    return f"  {terminal.when(entry['at'])}  {terminal.clean(what)}\n{'':27}because {terminal.clean(entry['rule'])}\n"
