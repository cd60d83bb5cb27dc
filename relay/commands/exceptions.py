"""`relay exceptions`: lists, shows, resolves and reopens payment exceptions."""

import argparse
import os
import sys
from datetime import UTC, datetime
from typing import Final

from relay.commands import answers, console, env_file, terminal
from relay.commands.endings import NO, OK, STATUSES, CommandError
from relay.commands.exception_rows import ExceptionRow, fetch, without_metadata
from relay.config import Settings
from relay.core.currency import format_amount
from relay.core.outcomes import REJECTIONS, UNMATCHED_REASONS
from relay.data_api.records import Clients, Condition, Records

NAME: Final = "exceptions"
HELP: Final = "list, show, resolve and reopen the payments that need a person"
EPILOG: Final = f"""\
examples:
  relay exceptions list
  relay exceptions list --status all --reason duplicate_payment --json
  relay exceptions show 17
  relay exceptions resolve 17 --resolution refunded --by ada --note "paid twice, second payment sent back"
  relay exceptions reopen 17 --by ada --note "it was 71 that was sent back"

A resolution stands until the exception is reopened: Stripe's further attempts for that event are answered 200. Where
the cause can be removed (order_group_empty, totals_inconsistent), remove it instead: the next attempt is applied and
closes the exception.
Needs the same settings as `relay serve`, so that one environment serves all commands; Stripe is not called.
{STATUSES}
"""
RESOLUTIONS: Final = ("refunded", "fixed_by_hand", "dismissed")
_REOPEN: Final = "reopen_payment_exception"
_RESOLVE: Final = "resolve_payment_exception"
_ID: Final = "the exception's number, from the list"
_LONGEST_NUMBER: Final = 18  # digits; a bigint holds all of them
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

    listing = action("list", "list one line per exception, oldest first", "list --reason duplicate_payment")
    listing.add_argument("--status", choices=("open", "resolved", "all"), default="open", help="default: %(default)s")
    reasons = sorted(map(str, REJECTIONS | UNMATCHED_REASONS))
    listing.add_argument(
        "--reason", choices=reasons, metavar="REASON", help="only those with this reason of docs/contract.md"
    )
    listing.add_argument("--group", type=console.order_group_id, metavar="UUID", help="only those of this order group")

    show = action("show", "show what was expected, what was received, how often, and since when", "show 17")
    show.add_argument("id", type=_number, help=_ID)
    show.add_argument("--metadata", action="store_true", help="also show the session's metadata, as the shop set them")

    example = 'resolve 17 --resolution refunded --by ada --note "paid twice, sent back"'
    resolve = action("resolve", "close an exception", example)
    resolve.add_argument("id", type=_number, help=_ID)
    resolve.add_argument("--resolution", choices=RESOLUTIONS, required=True)
    user = os.environ.get("USER")
    example = 'reopen 17 --by ada --note "mixed up"'
    reopen = action("reopen", "open a resolved exception again; its resolution is kept on record", example)
    reopen.add_argument("id", type=_number, help=_ID)
    for parsed in (resolve, reopen):
        parsed.add_argument("--by", type=console.words, default=user, help="who decides; default: $USER")
        parsed.add_argument("--note", type=console.words, required=True, help="the reason, for whoever asks later")
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
        raise CommandError("--by NAME must say who decides")
    return console.run(work)


async def _list(arguments: argparse.Namespace, records: Records) -> int:
    conditions: list[Condition] = []
    if arguments.reason:
        conditions.append(("reason", "eq", arguments.reason))
    if arguments.group:
        conditions.append(("order_group_id", "eq", arguments.group))
    rows: list[ExceptionRow] = without_metadata(await fetch(records, *conditions, status=arguments.status))
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
            _money(_object(row["details"], "expected"), "total_amount"),
            _money(_object(row["details"], "received"), "amount"),
            row["order_group_id"],
        )
        for row in rows
    ]
    sys.stdout.write(console.fit_table(header, lines))
    return OK


async def _show(arguments: argparse.Namespace, records: Records) -> int:
    rows = await fetch(records, ("id", "eq", str(arguments.id)))
    if not rows:
        raise CommandError(f"there is no payment exception {arguments.id}", NO)
    row: ExceptionRow = rows[0] if arguments.metadata else without_metadata(rows[0])
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
    answer = without_metadata(await records.call(_RESOLVE, parameters))
    row = answers.read(ExceptionRow, answer, of=_RESOLVE)
    if arguments.json:
        console.write_json(row)
        return OK
    sys.stdout.write(
        f"Exception {arguments.id} is resolved: {row['resolution']}, by {terminal.clean(row['resolved_by'])}.\n"
        "From now on Stripe's attempts for this event are answered 200.\n\n" + _describe(row)
    )
    return OK


async def _reopen(arguments: argparse.Namespace, records: Records) -> int:
    parameters = {"p_exception_id": arguments.id, "p_by": arguments.by, "p_note": arguments.note}
    answer = without_metadata(await records.call(_REOPEN, parameters))
    row = answers.read(ExceptionRow, answer, of=_REOPEN)
    if arguments.json:
        console.write_json(row)
        return OK
    sys.stdout.write(
        f"Exception {arguments.id} is open again.\n"
        "Its payment is judged anew when Stripe, the sweep or a replay brings it.\n\n" + _describe(row)
    )
    return OK


def _object(details: object, name: str) -> dict[str, object]:
    """A part of the evidence; empty where it is no object. The evidence is jsonb and may hold anything."""
    part = details.get(name) if isinstance(details, dict) else None
    return part if isinstance(part, dict) else {}


def _money(evidence: dict[str, object], amount: str) -> str | None:
    return None if evidence.get(amount) is None else format_amount(evidence[amount], evidence.get("currency"))


def _in_order(found: dict[str, object]) -> list[tuple[str, object]]:
    """The entries with money first, in the order of _FIRST; jsonb orders its keys by their length."""
    places = {name: place for place, name in enumerate(_FIRST)}
    return sorted(found.items(), key=lambda item: (places.get(item[0], len(places)), item[0]))


def _describe(row: ExceptionRow) -> str:
    now = datetime.now(UTC)
    details = row["details"]
    parts = [
        terminal.facts(
            [
                ("exception", row["id"]),
                ("status", row["status"]),
                ("reason", row["reason"]),
                ("attempts", row["attempts"]),
                ("first seen", _since(row["first_seen_at"], now)),
                ("last seen", _since(row["last_seen_at"], now)),
                ("order group", row["order_group_id"]),
                ("event", row["stripe_event_id"]),
                ("checkout session", row["checkout_session_id"]),
                ("payment intent", row["payment_intent_id"]),
            ]
        )
    ]
    for title in ("expected", "received"):
        found = _object(details, title)
        parts.append(
            f"\n{title}\n" + (terminal.facts(_in_order(found), indent="  ") if found else "  nothing is known\n")
        )
    earlier = details.get("earlier") if isinstance(details, dict) else None
    parts += [
        f"\nuntil {terminal.when(one.get('until'))} the reason was {terminal.clean(one.get('reason'))}\n"
        for one in (earlier if isinstance(earlier, list) else [])
        if isinstance(one, dict)
    ]
    if row["status"] == "resolved":
        resolved = [
            ("resolution", row["resolution"]),
            ("resolved_by", row["resolved_by"]),
            ("resolved_at", row["resolved_at"]),
            ("note", row["note"]),
        ]
        parts.append("\nresolved\n" + terminal.facts(resolved, indent="  "))
    return "".join(parts)


def _since(instant: str, now: datetime) -> str:
    return f"{terminal.when(instant)} ({terminal.age(instant, now)} ago)"
