"""Renders the report as one HTML page that needs no other file. Paper, phones and screen readers are supported.

Jinja escapes every value in the template except the charts, which are made here and whose texts pygal escapes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Template
from markupsafe import Markup

from relay.commands import html, sweep_lists, terminal
from relay.commands.report_page.figures import Facts
from relay.core.currency import format_amount

MOST: Final = {"totals": 400, "sellers": 200, "exceptions": 50, "drift": 50, "stock": 200, "adjustments": 50}
"""How many rows of each list the page shows. A page that nobody would print or read to its end names the rest."""


def render(facts: Facts) -> str:
    """The page as HTML. Needs the extra `report`."""
    from relay.commands.report_page import charts  # imported here: it needs pygal, and the parts alone do not

    template, context = _template(facts)
    return template.render(context | charts.drawn(facts))


def parts(facts: Facts, *names: str) -> dict[str, Markup]:
    """The named blocks of the page, without charts and style, for another page."""
    template, context = _template(facts)
    bound = template.new_context(context | {"payments_chart": None, "money_charts": []})
    return {name: Markup("".join(template.blocks[name](bound))) for name in names}  # noqa: S704  escaped by the template


def _template(facts: Facts) -> tuple[Template, dict[str, Any]]:
    made = html.environment(Path(__file__).parent, now=datetime.fromisoformat(facts.report["generated_at"]))
    made.filters["money"] = _money
    made.filters["first"] = lambda rows, count: rows[:count]
    return made.get_template("page.html"), {
        "facts": facts,
        "report": facts.report,
        "format_amount": format_amount,
        "most": MOST,
        "left_out": _left_out,
        "sweeps": sweep_lists,
    }


def _left_out(rows: Sequence[object], most: int, noun: str, where: str) -> str:
    """A paragraph that tells how many rows a list does not show, and where they are; empty where it shows all."""
    if len(rows) <= most:
        return ""
    return Markup("<p><b>{}</b>: {}.</p>").format(terminal.counted(len(rows) - most, f"more {noun}"), where)


def _money(row: Mapping[str, Any]) -> str:
    return f"- {row['currency'] or ''}" if row["amount"] is None else format_amount(row["amount"], row["currency"])
