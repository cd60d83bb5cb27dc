"""Renders the report as one HTML page that needs no other file. Paper, phones and screen readers are supported.

Jinja escapes every value in the template except the charts, which are made here and whose texts pygal escapes.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Template
from markupsafe import Markup

from relay.commands import html
from relay.commands.report_page.figures import Facts
from relay.core.currency import format_amount


def render(facts: Facts) -> str:
    """The page as HTML. Needs the extra `report`."""
    from relay.commands.report_page import charts  # imported here: it needs pygal, and the parts alone do not

    template, context = _template(facts)
    return template.render(context | charts.drawn(facts))


def parts(facts: Facts, *names: str) -> dict[str, Markup]:
    """The named blocks of the page, without charts and style, for another page."""
    template, context = _template(facts)
    bound = template.new_context(context | {"payments_chart": None})
    return {name: Markup("".join(template.blocks[name](bound))) for name in names}  # noqa: S704  escaped by the template


def _template(facts: Facts) -> tuple[Template, dict[str, Any]]:
    made = html.environment(Path(__file__).parent, now=datetime.fromisoformat(facts.report["generated_at"]))
    made.filters["money"] = _money
    return made.get_template("page.html"), {
        "facts": facts,
        "report": facts.report,
        "format_amount": format_amount,
    }


def _money(row: Mapping[str, Any]) -> str:
    return f"- {row['currency'] or ''}" if row["amount"] is None else format_amount(row["amount"], row["currency"])
