"""Writes each payment, order and refund of a report as one line of CSV, to be laid beside Stripe's own list."""

import csv
import io
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from typing_extensions import TypedDict

from relay.commands import answers
from relay.commands.answers import Amount, Day, Instant
from relay.commands.progress import Progress
from relay.commands.report_page.figures import Facts
from relay.core.currency import plain_amount
from relay.data_api.records import Records

_FUNCTION: Final = "payment_lines"
_COLUMNS: Final = (
    *("day", "group", "order", "seller", "intent", "amount", "kind"),
    *("currency", "session", "id", "at", "seller_name"),
)
# So many lines are 10 MiB of JSON, a third of the longest answer: a busy day is asked for in parts.
_MOST_LINES: Final = 25_000
# Where a spreadsheet would begin a formula. In countries that write decimals with a comma it separates cells by
# semicolons, and a quote in the middle of a cell is none: a name may then hold the end of a cell, or of a line.
_FORMULA: Final = re.compile(r"""^(?="*[=+\-@\t\r\n])|(?<=[;\t\r\n])(?="*[=+\-@])""")


class Line(TypedDict):
    """One line; the amount in major units, negative where money went back."""

    at: Instant
    day: Day
    kind: str
    id: str
    order_group_id: str | None
    order_id: str | None
    seller_id: str | None
    seller: str | None
    checkout_session_id: str | None
    payment_intent_id: str | None
    currency: str | None
    amount: Amount | None


async def fetch(records: Records, facts: Facts, show: Progress) -> list[Line]:
    """All lines of the report's window, in their order of time. Raises NoVerdict or Declined."""
    lines: list[Line] = []
    total = sum(day["lines"] for day in facts.report["days"])
    for since, until in windows(facts):
        show("lines", len(lines), total)
        parameters = {"p_since": since.isoformat(), "p_until": until.isoformat()}
        lines += answers.read(list[Line], await records.call(_FUNCTION, parameters), of=_FUNCTION)
    return lines


def windows(facts: Facts) -> Iterator[tuple[datetime, datetime]]:
    """The days that have lines, or parts of such days, within the report's window; they do not overlap."""
    since, until = (datetime.fromisoformat(facts.report[key]) for key in ("since", "until"))
    for day in facts.report["days"]:
        begin = datetime.fromisoformat(day["day"]).replace(tzinfo=UTC)
        parts = math.ceil(day["lines"] / _MOST_LINES)
        for part in range(parts):
            one = max(begin + timedelta(days=part) / parts, since)
            other = min(begin + timedelta(days=part + 1) / parts, until)
            if one < other:
                yield one, other


def as_csv(lines: list[Line]) -> str:
    """The lines as CSV. Names and currencies are any text that came: what a spreadsheet could read as a formula is
    quoted.
    """
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    for line in lines:
        writer.writerow(
            [
                line["day"],
                line["order_group_id"],
                line["order_id"],
                line["seller_id"],
                text(line["payment_intent_id"]),
                plain_amount(line["amount"], line["currency"]),
                line["kind"],
                text(line["currency"]),
                text(line["checkout_session_id"]),
                text(line["id"]),
                line["at"],
                text(line["seller"]),
            ]
        )
    return stream.getvalue()


def text(value: str | None) -> str | None:
    """The value, with an apostrophe wherever a spreadsheet would read a formula."""
    return value and _FORMULA.sub("'", value)
