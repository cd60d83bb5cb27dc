"""Draws a report's charts as SVG for the page. They contain no script and refer to nothing outside of the page."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pygal
from markupsafe import Markup
from pygal.style import Style

from relay.commands.report_page.figures import Facts
from relay.core.currency import decimals_of

# The palette of Okabe and Ito: distinct for colour-blind people, dark enough on paper, and readable as grey.
COLOURS = {
    "applied": "#0072B2",
    "already_paid": "#56B4E9",
    "resolved": "#009E73",
    "rejected": "#D55E00",
    "unmatched": "#E69F00",
}
# More labels, or more characters in all labels together, would overlap.
_MOST_LABELS = 10
_MOST_CHARACTERS = 50
_MONTH = len("2026-11")
# In pixels: the width of a phone and half the width of the page, so that the letters are as large as the page's text.
_WIDTH, _HEIGHT = 480, 260

# Charts of more currencies would make the page unreadable; the table has all currencies.
_MOST_CHARTS = 6


def drawn(facts: Facts) -> dict[str, Any]:
    """What the page's template shows of charts, by the template's names."""
    periods, shown = facts.periods, [name for name in COLOURS if name in facts.outcomes]
    counts = {name: facts.payments_in(periods, name) for name in shown}
    return {
        "colours": {name: COLOURS[name] for name in shown},
        "payments_chart": Markup(payments(periods, counts)) if periods else None,  # noqa: S704  made here
        "money_charts": [
            {
                "currency": currency,
                "svg": Markup(money(periods, facts.paid_in(periods, currency), decimals_of(currency))),  # noqa: S704  made here
            }
            for currency, _ in facts.paid[:_MOST_CHARTS]
        ],
    }


def payments(periods: Sequence[str], counts: Mapping[str, Sequence[int]]) -> str:
    """A stacked bar per day or month: how many payments had which outcome."""
    chart = _chart(pygal.StackedBar, periods, [COLOURS.get(outcome, "#666666") for outcome in counts])
    chart.value_formatter = lambda value: f"{value:,.0f}"
    for outcome, values in counts.items():
        chart.add(outcome.replace("_", " "), list(values))
    return _svg(chart)


def money(periods: Sequence[str], amounts: Sequence[Decimal], decimals: int) -> str:
    """A bar per day or month: what was paid in one currency. `amounts` are in major units. The bars' heights are
    floats, their labels are exact.
    """
    chart = _chart(pygal.Bar, periods, [COLOURS["applied"]])
    chart.value_formatter = lambda value: f"{value:,.{decimals}f}"
    chart.add("paid", [{"value": float(amount), "formatter": _exactly(amount, decimals)} for amount in amounts])
    return _svg(chart)


def _exactly(amount: Decimal, decimals: int) -> Callable[[float], str]:
    return lambda _: f"{amount:,.{decimals}f}"


def _chart(kind: type, periods: Sequence[str], colours: Sequence[str]) -> pygal.graph.graph.Graph:
    labels = [period[5:] if len(period) > _MONTH else period for period in periods]
    return kind(
        js=[],
        width=_WIDTH,
        height=_HEIGHT,
        explicit_size=False,
        x_labels=labels,
        x_label_rotation=45 if len("".join(labels)) > _MOST_CHARACTERS else 0,
        show_minor_x_labels=False,
        x_labels_major_every=max(1, len(periods) // _MOST_LABELS),
        show_legend=False,
        margin=6,
        style=Style(
            background="transparent",
            plot_background="transparent",
            foreground="#222222",
            foreground_strong="#111111",
            foreground_subtle="#888888",
            guide_stroke_color="#dddddd",
            major_guide_stroke_color="#dddddd",
            guide_stroke_dasharray="none",
            major_guide_stroke_dasharray="none",
            opacity="1",
            colors=tuple(colours),
            font_family="system-ui, sans-serif",
            label_font_size=12,
            major_label_font_size=12,
        ),
    )


def _svg(chart: pygal.graph.graph.Graph) -> str:
    """The chart as SVG, without the script in which pygal keeps its settings."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == "script" or child.tag is ElementTree.Comment:
                parent.remove(child)
    root.set("role", "img")
    return ElementTree.tostring(root, encoding="unicode")
