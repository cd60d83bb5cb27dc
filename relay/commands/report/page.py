"""Renders the report as one HTML page that needs no other file. Paper, phones and screen readers are supported.

Jinja escapes every value in the template except the charts, which are made here and whose texts pygal escapes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from relay.commands import terminal
from relay.commands.report import charts
from relay.commands.report.figures import Facts
from relay.core.currency import decimals_of, format_amount

# Charts of more currencies would make the page unreadable; the table has all currencies.
_MOST_CHARTS: Final = 6


def render(facts: Facts) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["money"] = _money
    environment.filters["when"] = terminal.when
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    environment.filters["counted"] = terminal.counted
    environment.filters["age"] = lambda since: terminal.age(since, datetime.fromisoformat(facts.report["generated_at"]))
    return environment.get_template("page.html").render(
        facts=facts,
        report=facts.report,
        colours={name: colour for name, colour in charts.COLOURS.items() if name in facts.outcomes},
        payments_chart=_payments_chart(facts),
        money_charts=_money_charts(facts),
        format_amount=format_amount,
    )


def _money(row: Mapping[str, Any]) -> str:
    return f"- {row['currency'] or ''}" if row["amount"] is None else format_amount(row["amount"], row["currency"])


def _payments_chart(facts: Facts) -> Markup | None:
    periods = facts.periods
    if not periods:
        return None
    counts = {name: facts.payments_in(periods, name) for name in charts.COLOURS if name in facts.outcomes}
    return Markup(charts.payments(periods, counts))  # noqa: S704  made here


def _money_charts(facts: Facts) -> Sequence[Mapping[str, Any]]:
    drawn = []
    periods = facts.periods
    for currency, _ in facts.paid[:_MOST_CHARTS]:
        svg = Markup(charts.money(periods, facts.paid_in(periods, currency), decimals_of(currency)))  # noqa: S704  made here
        drawn.append({"currency": currency, "svg": svg})
    return drawn
