"""`relay exceptions`: the payments that need a person."""

import argparse
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

from relay.commands import console, env_file, terminal
from relay.commands.endings import NO, OK, STATUSES, CommandError
from relay.config import Settings
from relay.core.currency import format_amount
from relay.core.outcomes import REJECTIONS, UNMATCHED_REASONS
from relay.data_api.records import Clients, Condition, Records, Row

NAME: Final = "exceptions"
HELP: Final = "list, show, resolve and reopen the payments that need a person"
EPILOG: Final = f"""\
examples:
  relay exceptions list
  relay exceptions list --status all --reason duplicate_payment --json
  relay exceptions show 17
  relay exceptions resolve 17 --resolution refunded --by ada --note "paid twice, second payment sent back"
  relay exceptions reopen 17 --by ada --note "it was 71 that was sent back"

A resolution stands until it is reopened: Stripe's further attempts for that event are answered 200. Where the cause can
be removed (order_group_empty, totals_inconsistent), remove it instead: the next attempt is applied and closes the case.
Needs the same settings as `relay serve`, so that one environment serves all commands; Stripe is not called.
{STATUSES}
"""
RESOLUTIONS: Final = ("refunded", "fixed_by_hand", "dismissed")
FUNCTION: Final = "list_payment_exceptions"
_ID: Final = "the exception's number, from the list"
_LONGEST_NUMBER: Final = 18  # digits; a bigint holds all of them
# Metadata is the shop's, and may hold what a shop knows about its buyers.
_PRIVATE: Final = "session_metadata"
_FIRST: Final = (
    "order_group_status",
    "amount",
    "total_amount",
    "currency",
    "amount_minor",
    "orders_total",
    "orders",
    "items",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's actions and options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    def action(name: str, what: str, example: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=what, description=what, epilog=f"example: relay exceptions {example}")

    listing = action("list", "one line an exception, oldest first", "list --reason duplicate_payment")
    listing.add_argument("--status", choices=("open", "resolved", "all"), default="open", help="default: %(default)s")
    reasons = sorted(map(str, REJECTIONS | UNMATCHED_REASONS))
    listing.add_argument("--reason", choices=reasons, metavar="REASON", help="as the list and the README name it")
    listing.add_argument("--group", type=console.order_group_id, metavar="UUID", help="of one order group")

    show = action("show", "what was expected, what came, how often, since when", "show 17")
    show.add_argument("id", type=_number, help=_ID)
    show.add_argument("--metadata", action="store_true", help="also show the session's metadata, as the shop set them")

    example = 'resolve 17 --resolution refunded --by ada --note "paid twice, sent back"'
    resolve = action("resolve", "close an exception", example)
    resolve.add_argument("id", type=_number, help=_ID)
    resolve.add_argument("--resolution", choices=RESOLUTIONS, required=True)
    user = os.environ.get("USER")
    reopen = action("reopen", "take a resolution back; the former word is kept", 'reopen 17 --by ada --note "mixed up"')
    reopen.add_argument("id", type=_number, help=_ID)
    for parsed in (resolve, reopen):
        parsed.add_argument("--by", type=console.words, default=user, help="who says so; default: $USER")
        parsed.add_argument("--note", type=console.words, required=True, help="why, for whoever asks later")
    for parsed in (listing, show, resolve, reopen):
        parsed.add_argument("--json", action="store_true", help="print JSON")
        env_file.add_argument(parsed)


def _number(argument: str) -> int:
    if not (argument.isascii() and argument.isdigit() and len(argument) <= _LONGEST_NUMBER):
        raise argparse.ArgumentTypeError("must be an exception's number, as `relay exceptions list` shows it")
    return int(argument)


def run(arguments: argparse.Namespace) -> int:
    """List, show, resolve or reopen. Raises SettingsError."""

    async def work(_: Settings, clients: Clients) -> int:
        if arguments.action == "list":
            return await _list(arguments, clients.records)
        if arguments.action == "show":
            return await _show(arguments, clients.records)
        if arguments.action == "reopen":
            return await _reopen(arguments, clients.records)
        return await _resolve(arguments, clients.records)

    if arguments.action in ("resolve", "reopen") and not (arguments.by or "").strip():
        raise CommandError("say who says so: --by NAME")
    return console.run(work)


async def fetch(records: Records, *conditions: Condition, status: str = "all") -> list[Row]:
    """The exceptions that meet the conditions, oldest first. Raises NoVerdict or Declined."""
    rows = await records.rows(FUNCTION, "*", *conditions, parameters={"p_status": status})
    return sorted(rows, key=lambda row: (row["first_seen_at"], row["id"]))


async def _list(arguments: argparse.Namespace, records: Records) -> int:
    conditions: list[Condition] = []
    if arguments.reason:
        conditions.append(("reason", "eq", arguments.reason))
    if arguments.group:
        conditions.append(("order_group_id", "eq", arguments.group))
    rows = [without_metadata(row) for row in await fetch(records, *conditions, status=arguments.status)]
    if arguments.json:
        console.write_json(rows)
        return OK
    if not rows:
        sys.stdout.write("Nothing: no payment waits for a person.\n" if arguments.status == "open" else "Nothing.\n")
        return OK
    now = datetime.now(UTC)
    header = ("id", "status", "for", "attempts", "reason", "expected", "received", "order group")
    lines = [
        (
            row["id"],
            row["resolution"] or row["status"],
            terminal.age(row["first_seen_at"], now),
            row["attempts"],
            row["reason"],
            _money(row["details"].get("expected"), "total_amount"),
            _money(row["details"].get("received"), "amount"),
            row["order_group_id"],
        )
        for row in rows
    ]
    sys.stdout.write(console.table(header, lines))
    return OK


async def _show(arguments: argparse.Namespace, records: Records) -> int:
    rows = await fetch(records, ("id", "eq", str(arguments.id)))
    if not rows:
        raise CommandError(f"there is no payment exception {arguments.id}", NO)
    row = rows[0] if arguments.metadata else without_metadata(rows[0])
    if arguments.json:
        console.write_json(row)
    else:
        sys.stdout.write(_describe(row))
    return OK


async def _resolve(arguments: argparse.Namespace, records: Records) -> int:
    parameters = {
        "p_exception_id": arguments.id,
        "p_resolution": arguments.resolution,
        "p_resolved_by": arguments.by,
        "p_note": arguments.note,
    }
    data = await records.call("resolve_payment_exception", parameters)
    row = without_metadata(data) if isinstance(data, dict) else {}
    if arguments.json:
        console.write_json(row)
        return OK
    sys.stdout.write(
        f"Exception {arguments.id} is resolved: {row.get('resolution')}, by {terminal.clean(row.get('resolved_by'))}.\n"
        "From now on Stripe's attempts for this event are answered 200.\n\n" + _describe(row)
    )
    return OK


async def _reopen(arguments: argparse.Namespace, records: Records) -> int:
    parameters = {"p_exception_id": arguments.id, "p_by": arguments.by, "p_note": arguments.note}
    data = await records.call("reopen_payment_exception", parameters)
    row = without_metadata(data) if isinstance(data, dict) else {}
    if arguments.json:
        console.write_json(row)
        return OK
    sys.stdout.write(
        f"Exception {arguments.id} is open again.\n"
        "Its payment is judged anew when Stripe, the sweep or a replay brings it.\n\n" + _describe(row)
    )
    return OK


def without_metadata(value: Any) -> Any:
    """The same, without any session's metadata."""
    if isinstance(value, dict):
        return {key: without_metadata(inner) for key, inner in value.items() if key != _PRIVATE}
    return [without_metadata(inner) for inner in value] if isinstance(value, list) else value


def _money(facts: object, amount: str) -> str | None:
    if not isinstance(facts, dict) or facts.get(amount) is None:
        return None
    return format_amount(facts[amount], facts.get("currency"))


def _in_order(found: dict[str, object]) -> list[tuple[str, object]]:
    """Money first; jsonb keeps its keys by their length."""
    places = {name: place for place, name in enumerate(_FIRST)}
    return sorted(found.items(), key=lambda item: (places.get(item[0], len(places)), item[0]))


def _describe(row: Row) -> str:
    now = datetime.now(UTC)
    details = row.get("details") or {}
    parts = [
        terminal.facts(
            [
                ("exception", row["id"]),
                ("status", row["status"]),
                ("reason", row["reason"]),
                ("attempts", row["attempts"]),
                (
                    "first seen",
                    f"{terminal.when(row['first_seen_at'])} ({terminal.age(row['first_seen_at'], now)} ago)",
                ),
                ("last seen", f"{terminal.when(row['last_seen_at'])} ({terminal.age(row['last_seen_at'], now)} ago)"),
                ("order group", row["order_group_id"]),
                ("event", row["stripe_event_id"]),
                ("checkout session", row["checkout_session_id"]),
                ("payment intent", row["payment_intent_id"]),
            ]
        )
    ]
    for title in ("expected", "received"):
        found = details.get(title)
        parts.append(
            f"\n{title}\n" + (terminal.facts(_in_order(found), indent="  ") if found else "  nothing is known\n")
        )
    parts += [
        f"\nuntil {terminal.when(earlier.get('until'))} the reason was {terminal.clean(earlier.get('reason'))}\n"
        for earlier in details.get("earlier", [])
    ]
    if row["status"] == "resolved":
        resolved = [(name, row[name]) for name in ("resolution", "resolved_by", "resolved_at", "note")]
        parts.append("\nresolved\n" + terminal.facts(resolved, indent="  "))
    return "".join(parts)
