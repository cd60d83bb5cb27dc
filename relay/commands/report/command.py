"""`relay report`: writes what an accountant needs to know about a period."""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from relay.commands import console, extras, output, sweep_lists, terminal, window
from relay.commands.endings import NO, OK, CommandError
from relay.commands.progress import Bar
from relay.commands.report import lines
from relay.commands.report_page import reading
from relay.commands.report_page.figures import Facts
from relay.config import Settings
from relay.core.currency import format_amount, plain_amount
from relay.data_api.records import Clients

NAME: Final = "report"
HELP: Final = "payments by day, open exceptions, stock committed and checks, for an accountant"
EPILOG: Final = """\
examples:
  relay report --since 30d --html november.html
  relay report --since 2026-11-01 --until 2026-12-01 --csv november.csv --json
  relay report --since 2026-11-01 --until 2026-12-01 --lines november-lines.csv
  relay sweep --since 72h --json > sweep.json; relay report --since 72h --sweep sweep.json --html today.html

The window begins with --since and ends before --until; days are UTC, and of money they are Stripe's. --lines writes a
line per payment, order and refund. --html needs the extra `report`.
exit status: 0 all checks hold, 1 a check does not hold, 2 could not run
"""
EXTRA: Final = ("jinja2", "pygal")
_STDOUT: Final = Path("-")
_SUMS: Final[tuple[Literal["gross"], Literal["refunded"], Literal["net"]]] = ("gross", "refunded", "net")
_COLUMNS: Final = ("day", "currency", "outcome", "payments", "amount")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    window.add_arguments(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page; - is stdout")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the totals as a table; - is stdout")
    parser.add_argument(
        "--lines", type=Path, metavar="FILE", help="write each payment, order and refund as a line; - is stdout"
    )
    parser.add_argument(
        "--sweep", type=_sweep, metavar="FILE", help="show what a sweep left: the JSON of `relay sweep --json`"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Make the report, and write or print it. Raises SettingsError, CommandError, or OSError where a file cannot be
    written.
    """
    if arguments.html:
        extras.need("report", *EXTRA, for_what="--html")
    files = [arguments.html, arguments.csv, arguments.lines, _STDOUT if arguments.json else None]
    if files.count(_STDOUT) > 1:
        raise CommandError("only one of --html, --csv, --lines and --json can go to stdout: name a file for the others")
    since, until = window.bounds(arguments)

    async def work(settings: Settings, clients: Clients) -> int:
        report = await reading.fetch(clients.records, since, until)
        facts = Facts(report, arguments.sweep, urlsplit(settings.supabase_url).netloc, settings.mode)
        if arguments.lines:
            bar = Bar(sys.stderr)
            told = await lines.fetch(clients.records, facts, bar.show)
            bar.clear()
            _put(arguments.lines, lines.as_csv(told))
        _write(facts, arguments)
        if facts.other_mode:
            output.complain(facts.other_mode)
        if facts.broken:
            claims = "; ".join(terminal.clean(check["claim"]) for check in facts.broken)
            verb = "does" if len(facts.broken) == 1 else "do"
            output.complain(f"{len(facts.broken)} of {len(report['checks'])} checks {verb} not hold: {claims}")
        return NO if facts.broken else OK

    return console.run(work, seconds=reading.REPORT_SECONDS)


def _write(facts: Facts, arguments: argparse.Namespace) -> None:
    """Write the files that were asked for, or print the report. Raises OSError."""
    if arguments.csv:
        _put(arguments.csv, _csv(facts))
    if arguments.html:
        from relay.commands.report_page import page  # imported here: it needs the extra's libraries

        _put(arguments.html, page.render(facts))
    if arguments.json:
        console.write_json({**facts.report, "drift": facts.drift, "other_mode": facts.other_mode})
    elif not (arguments.csv or arguments.html or arguments.lines):
        output.show(_tell(facts))


def _put(path: Path, content: str) -> None:
    """Write a file; the path `-` is stdout. Raises OSError."""
    if path == _STDOUT:
        sys.stdout.write(content)
    else:
        path.write_text(content, encoding="utf-8", newline="")


def _sweep(path: str) -> dict[str, Any]:
    """Read the file that `relay sweep --json` printed. Raises argparse.ArgumentTypeError."""
    try:
        return sweep_lists.read_file(Path(path))
    except CommandError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _csv(facts: Facts) -> str:
    """The totals as CSV, with amounts in major units. A currency may be any text that came, so text that a spreadsheet
    could read as a formula is quoted.
    """
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    for row in facts.report["totals"]:
        amount = plain_amount(row["amount"], row["currency"])
        writer.writerow([row["day"], lines.text(row["currency"]), row["outcome"], row["payments"], amount])
    return stream.getvalue()


def _tell(facts: Facts) -> str:
    report = facts.report
    parts = [f"{terminal.when(report['since'])} to {terminal.when(report['until'])}\n"]
    if facts.project:
        parts.append(f"{terminal.clean(facts.project)}, {facts.mode} mode\n")
    if facts.other_mode:
        parts.append(f"{facts.other_mode}\n")
    parts.append("\n")
    rows = [
        (row["day"], row["outcome"], row["payments"], format_amount(row["amount"], row["currency"]))
        for row in report["totals"]
    ]
    parts.append(console.fit_table(("day", "outcome", "payments", "amount"), rows) if rows else "No payment came.\n")
    if facts.money:
        sums = [
            (one["currency"], *(format_amount(one[name], one["currency"]) for name in _SUMS)) for one in facts.money
        ]
        parts.append("\n" + console.fit_table(("currency", "paid, gross", "refunded", "net"), sums))
    if report["simulated"]:
        amounts = ", ".join(format_amount(one["gross"], one["currency"]) for one in report["simulated"])
        parts.append(f"\npaid by relay simulate: {terminal.clean(amounts)}\n")
        parts.append("  no money, in no other sum; what it had set aside is `simulated` by day as well\n")
    if report["sellers"]:
        shares = [
            (row["seller"], row["orders"], *(format_amount(row[name], row["currency"]) for name in _SUMS))
            for row in report["sellers"]
        ]
        parts.append("\n" + console.fit_table(("seller", "orders", *_SUMS), shares))
    if report["exceptions"]:
        parts.append("\nopen exceptions\n" + terminal.facts(facts.ages, indent="  "))
    else:
        parts.append("\nno open exceptions\n")
    if report["stock"]:
        stock = [
            (
                *(row["seller"], row["sku"], row["product"]),
                *(row["opening"], row["received"], row["committed"], row["returned"], row["corrected"], row["on_hand"]),
            )
            for row in report["stock"]
        ]
        titles = ("opening", "received", "sold", "came back", "corrected", "closing")
        parts.append("\n" + console.fit_table(("seller", "sku", "product", *titles), stock))
    if facts.oversold:
        parts.append(f"\noversold: {terminal.counted(facts.oversold, 'product')}\n")
    parts.append(f"\nchecks: {len(report['checks']) - len(facts.broken)} of {len(report['checks'])} hold\n")
    parts += [
        f"  does not hold: {terminal.clean(check['claim'])} ({terminal.counted(check['faults'], 'fault')})\n"
        for check in facts.broken
    ]
    if facts.drift is not None:
        parts.append(f"\n{sweep_lists.summary(facts.drift)}\n")
    return "".join(parts)
