"""`relay explain`: why an order group is, or is not, paid."""

import argparse
import sys
from typing import Any, Final

from relay.commands import console, terminal
from relay.commands.endings import NO, OK, STATUSES
from relay.commands.exceptions import without_metadata
from relay.config import Settings
from relay.core.currency import format_amount
from relay.data_api.records import Clients, Row

NAME: Final = "explain"
HELP: Final = "tell an order group's story: events, decisions, rules, ledger"
EPILOG: Final = f"""\
examples:
  relay explain 3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10
  relay explain 3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10 --json | jq .verdict

A group that does not exist is told too (payments may have come for it), with exit status 1.
Needs the same settings as `relay serve`; Stripe is not called.
{STATUSES}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("order_group_id", metavar="ORDER_GROUP_ID", type=console.order_group_id)
    parser.add_argument("--json", action="store_true", help="print the story as JSON")
    parser.add_argument("--metadata", action="store_true", help="with the sessions' metadata, as the shop set them")


def run(arguments: argparse.Namespace) -> int:
    """Tell the story. Raises SettingsError."""

    async def work(_: Settings, clients: Clients) -> int:
        story: Any = await clients.records.call("explain_order_group", {"p_order_group_id": arguments.order_group_id})
        if not arguments.metadata:
            story = without_metadata(story)
            (story["order_group"] or {}).pop("stripe_session_metadata", None)
        if arguments.json:
            console.write_json(story)
        else:
            sys.stdout.write(_tell(story))
        return OK if story["order_group"] else NO

    return console.run(work)


def _tell(story: Row) -> str:
    group = story["order_group"]
    parts = [f"Order group {story['order_group_id']}\n{terminal.clean(story['verdict'])}\n"]
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
        parts.append("\n" + console.table(("order", "status", "total", "items", "seller"), rows))
    parts.append("\nWhat happened\n" if story["timeline"] else "\nNothing has happened.\n")
    parts += [_entry(entry) for entry in story["timeline"]]
    return "".join(parts)


def _entry(entry: Row) -> str:
    """One step and the rule that decided it."""
    match entry["kind"]:
        case "stripe_event":
            what = (
                f"{entry['outcome']}: {entry['event_type']} {entry['stripe_event_id']} ({entry['source']}), "
                f"{format_amount(entry['amount'], entry['currency'])}, session {entry['checkout_session_id']}"
            )
        case "payment_exception":
            state = entry["resolution"] or entry["status"]
            what = (
                f"exception {entry['exception_id']}, {state}: {entry['reason']}, event {entry['stripe_event_id']}, "
                f"{terminal.counted(entry['attempts'], 'attempt')}, last {terminal.when(entry['last_seen_at'])}"
            )
            if entry["resolved_by"]:
                what += f"; by {entry['resolved_by']}: {entry['note'] or 'no note'}"
        case "inventory_ledger":
            what = (
                f"stock: {entry['quantity_delta']:+d} of product {entry['product_id']} "
                f"(ledger {entry['ledger_id']}, item {entry['order_item_id']})"
            )
        case kind:
            what = str(kind).replace("_", " ")
    return f"  {terminal.when(entry['at'])}  {terminal.clean(what)}\n{'':27}because {terminal.clean(entry['rule'])}\n"
