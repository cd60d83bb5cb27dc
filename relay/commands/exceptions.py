"""`relay exceptions`: lists, shows, resolves and reopens payment exceptions."""

import argparse
import os
import sys
from datetime import UTC, datetime
from typing import Final

from relay.commands import console, env_file, output, terminal, window
from relay.commands.command_line import Layout
from relay.commands.endings import NO, OK, STATUSES, CommandError, no_answer
from relay.commands.exception_rows import (
    RESOLUTIONS,
    ExceptionRow,
    evidence,
    expected_amount,
    fetch,
    fetch_one,
    number_of,
    received_amount,
    reopen,
    resolve,
    without_metadata,
)
from relay.commands.progress import Bar
from relay.config import Settings
from relay.core.errors import Declined, NoVerdict
from relay.core.outcomes import EXCEPTION_REASONS
from relay.data_api.records import Clients, Condition, Records

NAME: Final = "exceptions"
HELP: Final = "list, show, resolve and reopen the payments that need a person"
EPILOG: Final = f"""\
examples:
  relay exceptions list
  relay exceptions list --status all --reason duplicate_payment --json
  relay exceptions show 17
  relay exceptions list --fail-if-any
  relay exceptions resolve 17 --resolution refunded --by ada --note "paid twice, second payment sent back"
  relay exceptions resolve --reason missing_reference --before 7d --resolution dismissed --by ada --note moved --yes
  relay exceptions reopen 17 --by ada --note "it was 71 that was sent back"

A resolution stands until the exception is reopened: Stripe's further attempts for that event are answered 200. Where
the cause can be removed (order_group_empty, totals_inconsistent), remove it instead: the next attempt is applied and
closes the exception.
Needs the same settings as `relay serve`, so that one environment serves all commands; Stripe is not called.
{STATUSES}
"""
# Before --yes a person looks at some of them.
_MOST_LISTED: Final = 20
_MOST_DECLINED: Final = 5
_ID: Final = "the exception's number, from the list"
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
        return actions.add_parser(
            name, help=what, description=what, epilog=f"example: relay exceptions {example}", formatter_class=Layout
        )

    listing = action("list", "list one line per exception, oldest first", "list --reason duplicate_payment")
    listing.add_argument("--status", choices=("open", "resolved", "all"), default="open", help="default: %(default)s")
    reasons = sorted(map(str, EXCEPTION_REASONS))
    listing.add_argument(
        "--reason", choices=reasons, metavar="REASON", help="only those with this reason of docs/contract.md"
    )
    listing.add_argument("--group", type=console.order_group_id, metavar="UUID", help="only those of this order group")
    listing.add_argument(
        "--fail-if-any", action="store_true", help="exit with status 1 where one is listed, for a scheduler"
    )

    show = action("show", "show what was expected, what was received, how often, and since when", "show 17")
    show.add_argument("id", type=_number, help=_ID)
    show.add_argument("--metadata", action="store_true", help="also show the session's metadata, as the shop set them")

    example = 'resolve 17 --resolution refunded --by ada --note "paid twice, sent back"'
    resolving = action("resolve", "close an exception, or several with one word", example)
    resolving.add_argument("ids", type=_number, nargs="*", metavar="id", help=_ID)
    resolving.add_argument(
        "--reason", choices=reasons, metavar="REASON", help="instead of numbers: the open ones with this reason"
    )
    resolving.add_argument(
        "--before",
        type=window.instant,
        metavar="WHEN",
        help=f"with --reason: those first seen before then, {window.HELP}",
    )
    resolving.add_argument("--yes", action="store_true", help="with --reason: close them, instead of only listing them")
    meanings = "; ".join(f"{word}: {meaning}" for word, meaning in RESOLUTIONS.items())
    resolving.add_argument("--resolution", choices=RESOLUTIONS, required=True, help=meanings)
    user = os.environ.get("USER")
    example = 'reopen 17 --by ada --note "mixed up"'
    reopening = action("reopen", "open a resolved exception again; its resolution is kept on record", example)
    reopening.add_argument("id", type=_number, help=_ID)
    for parsed in (resolving, reopening):
        parsed.add_argument("--by", type=console.words, default=user, help="who decides; default: $USER")
        parsed.add_argument("--note", type=console.words, required=True, help="the reason, for whoever asks later")
    for parsed in (listing, show, resolving, reopening):
        parsed.add_argument("--json", action="store_true", help="print JSON")
        env_file.add_argument(parsed)


def _number(argument: str) -> int:
    if (number := number_of(argument)) is None:
        raise argparse.ArgumentTypeError("must be an exception's number, as `relay exceptions list` shows it")
    return number


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
    if arguments.action == "resolve" and bool(arguments.ids) == bool(arguments.reason):
        raise CommandError("either the numbers of exceptions or --reason must say which ones")
    if arguments.action == "resolve" and arguments.ids and (arguments.before or arguments.yes):
        raise CommandError("--before and --yes go with --reason")
    return console.run(work)


async def _list(arguments: argparse.Namespace, records: Records) -> int:
    conditions: list[Condition] = []
    if arguments.reason:
        conditions.append(("reason", "eq", arguments.reason))
    if arguments.group:
        conditions.append(("order_group_id", "eq", arguments.group))
    rows: list[ExceptionRow] = without_metadata(await fetch(records, *conditions, status=arguments.status))
    status = NO if rows and arguments.fail_if_any else OK
    if arguments.json:
        console.write_json(rows)
    elif rows:
        output.show(_table(rows))
    else:
        output.show("Nothing: no payment waits for a person.\n" if arguments.status == "open" else "Nothing.\n")
    return status


def _table(rows: list[ExceptionRow]) -> str:
    now = datetime.now(UTC)
    header = ("id", "status", "for", "attempts", "reason", "expected", "received", "order group")
    lines = [
        (
            row["id"],
            row["resolution"] or row["status"],
            terminal.age(row["first_seen_at"], now),
            row["attempts"],
            row["reason"],
            expected_amount(row),
            received_amount(row),
            row["order_group_id"],
        )
        for row in rows
    ]
    return console.fit_table(header, lines)


async def _show(arguments: argparse.Namespace, records: Records) -> int:
    found = await fetch_one(records, arguments.id)
    if found is None:
        raise CommandError(f"there is no payment exception {arguments.id}", NO)
    row: ExceptionRow = found if arguments.metadata else without_metadata(found)
    if arguments.json:
        console.write_json(row)
    else:
        output.show(_describe(row))
    return OK


async def _resolve(arguments: argparse.Namespace, records: Records) -> int:
    if arguments.reason:
        return await _resolve_all(arguments, records)
    if len(arguments.ids) > 1:
        return await _resolve_each(arguments.ids, arguments, records)
    row = await _resolved(arguments.ids[0], arguments, records)
    if arguments.json:
        console.write_json(row)
        return OK
    output.show(
        f"Exception {row['id']} is resolved: {row['resolution']}, by {terminal.clean(row['resolved_by'])}.\n"
        "From now on Stripe's attempts for this event are answered 200.\n\n" + _describe(row)
    )
    return OK


async def _resolve_all(arguments: argparse.Namespace, records: Records) -> int:
    """Close the open exceptions of a reason; without --yes only list them."""
    conditions: list[Condition] = [("reason", "eq", arguments.reason)]
    if arguments.before:
        conditions.append(("first_seen_at", "lt", arguments.before.isoformat()))
    rows: list[ExceptionRow] = without_metadata(await fetch(records, *conditions, status="open"))
    if arguments.yes or not rows:
        return await _resolve_each([row["id"] for row in rows], arguments, records)
    if arguments.json:
        console.write_json(rows)
    else:
        left = f"and {len(rows) - _MOST_LISTED:,} more\n" if len(rows) > _MOST_LISTED else ""
        output.show(_table(rows[:_MOST_LISTED]) + left)
    raise CommandError(f"nothing was done: --yes closes these {len(rows):,}", NO)


async def _resolve_each(ids: list[int], arguments: argparse.Namespace, records: Records) -> int:
    """Close them one by one. What the database declines is told, and the others are closed all the same.

    What was closed stays so, and is told whatever ends the run: the last of them, no answer, or Ctrl-C. Raises
    CommandError.
    """
    rows: list[ExceptionRow] = []
    declined: list[str] = []
    bar = Bar(sys.stderr)
    try:
        for done, id_ in enumerate(ids):
            bar.show("resolved", done, len(ids))
            try:
                rows.append(await _resolved(id_, arguments, records))
            except Declined as error:
                declined.append(terminal.clean(str(error)))
            except NoVerdict as error:
                not_tried = len(ids) - done - 1
                raise CommandError(f"ended at exception {id_}, {not_tried:,} not tried: {no_answer(error)}") from None
    finally:
        bar.clear()
        if arguments.json:
            console.write_json(rows)
        else:
            output.show(f"{len(rows):,} resolved: {arguments.resolution}, by {terminal.clean(arguments.by)}.\n")
        if declined:
            told = "; ".join([*declined[:_MOST_DECLINED], *["and so on"][: len(declined) > _MOST_DECLINED]])
            output.complain(f"{len(declined):,} of {len(ids):,} were declined: {told}")
    return NO if declined else OK


async def _resolved(id_: int, arguments: argparse.Namespace, records: Records) -> ExceptionRow:
    return await resolve(records, id_, resolution=arguments.resolution, by=arguments.by, note=arguments.note)


async def _reopen(arguments: argparse.Namespace, records: Records) -> int:
    row = await reopen(records, arguments.id, by=arguments.by, note=arguments.note)
    if arguments.json:
        console.write_json(row)
        return OK
    output.show(
        f"Exception {arguments.id} is open again.\n"
        "Its payment is judged anew when Stripe, the sweep or a replay brings it.\n\n" + _describe(row)
    )
    return OK


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
        found = evidence(row, title)
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
            ("resolved_at", terminal.when(row["resolved_at"])),
            ("note", row["note"]),
        ]
        parts.append("\nresolved\n" + terminal.facts(resolved, indent="  "))
    return "".join(parts)


def _since(instant: str, now: datetime) -> str:
    return f"{terminal.when(instant)} ({terminal.age(instant, now)} ago)"
