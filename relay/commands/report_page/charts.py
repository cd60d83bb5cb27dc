"""Draws a report's charts as SVG for the page. They contain no script and refer to nothing outside of the page."""

import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final
from xml.etree import ElementTree

import pygal
from markupsafe import Markup
from pygal.style import Style

from relay.commands.report_page.axis import lines
from relay.commands.report_page.figures import Facts
from relay.core.currency import decimals_of

# pygal adds a finder of an old kind, for maps that are not drawn here; later imports would stumble over it, or warn.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]

# The palette of Okabe and Ito: distinct for colour-blind people, readable as grey, on white as on black.
COLOURS = {
    "applied": "#0072B2",
    "already_paid": "#56B4E9",
    "resolved": "#009E73",
    "rejected": "#D55E00",
    "unmatched": "#E69F00",
}
# In pixels: the width of a phone and half the width of the page, so that the letters are as large as the page's text.
_WIDTH, _HEIGHT = 480, 260
# So many labels stand beside each other on a phone. The others are left out, evenly.
_MOST_LABELS: Final = {len("2026-11-23"): 7, len("2026-11"): 5, len("2026"): 7}
# Fewer payments are read from the table.
_LEAST_PAYMENTS: Final = 3
# Charts of more currencies would make the page unreadable; the table has all currencies.
_MOST_CHARTS = 6


def drawn(facts: Facts) -> dict[str, Any]:
    """What the page's template shows of charts, by the template's names."""
    periods = facts.periods
    if not periods:
        return {"colours": {}, "payments_chart": None, "money_charts": []}
    shown = [name for name in COLOURS if name in facts.outcomes]
    counts = {name: facts.payments_in(periods, name) for name in shown}
    per = {10: "day", 7: "month", 4: "year"}[len(periods[0])]
    span = f"per {per}, {_label(periods[0])} to {_label(periods[-1])}"
    return {
        "colours": {name: COLOURS[name] for name in shown},
        "payments_chart": Markup(payments(periods, counts, f"Payments by outcome {span}"))  # noqa: S704  made here
        if sum(map(sum, counts.values())) >= _LEAST_PAYMENTS
        else None,
        "money_charts": [
            {"currency": currency, "svg": Markup(money(periods, facts.paid_in(periods, currency), currency, span))}  # noqa: S704
            for currency, _ in facts.paid[:_MOST_CHARTS]
            if facts.payments_of(currency) >= _LEAST_PAYMENTS
        ],
    }


def payments(periods: Sequence[str], counts: Mapping[str, Sequence[int]], title: str) -> str:
    """A stacked bar per period: how many payments had which outcome."""
    highest = max(map(sum, zip(*counts.values(), strict=True)), default=0)
    chart = _chart(pygal.StackedBar, periods, [COLOURS[outcome] for outcome in counts], lines(highest, whole=True))
    chart.value_formatter = lambda value: f"{value:,.0f}"
    for outcome, values in counts.items():
        chart.add(outcome.replace("_", " "), list(values))
    return _svg(chart, title)


def money(periods: Sequence[str], amounts: Sequence[Decimal], currency: str, span: str) -> str:
    """A bar per period: what was paid in one currency. `amounts` are in major units. The bars' heights are floats,
    their labels are exact.
    """
    decimals = decimals_of(currency)
    at = lines(float(max(amounts, default=Decimal(0))), whole=decimals == 0)
    chart = _chart(pygal.Bar, periods, [COLOURS["applied"]], at)
    shown = 0 if all(line == int(line) for line in at) else max(decimals, 1)
    chart.value_formatter = lambda value: f"{value:,.{shown}f}"
    chart.add("paid", [{"value": float(amount), "formatter": _exactly(amount, decimals)} for amount in amounts])
    return _svg(chart, f"Paid in {currency} {span}")


def _exactly(amount: Decimal, decimals: int) -> Callable[[float], str]:
    return lambda _: f"{amount:,.{decimals}f}"


def _label(period: str) -> str:
    """A period for people: "23 Nov", "Nov 2026", "2026"."""
    if len(period) == len("2026"):
        return period
    if len(period) == len("2026-11"):
        return f"{date.fromisoformat(f'{period}-01'):%b %Y}"
    day = date.fromisoformat(period)
    return f"{day.day} {day:%b}"


def _chart(kind: type, periods: Sequence[str], colours: Sequence[str], at: Sequence[float]) -> pygal.graph.graph.Graph:
    every = math.ceil(len(periods) / _MOST_LABELS[len(periods[0])])
    return kind(
        js=[],
        width=_WIDTH,
        height=_HEIGHT,
        explicit_size=False,
        x_labels=[_label(period) for period in periods],
        x_labels_major=[_label(period) for period in itertools.islice(periods, 0, None, every)],
        show_minor_x_labels=False,
        truncate_label=-1,
        y_labels=list(at),
        range=(at[0], at[-1]),
        show_legend=False,
        margin=6,
        style=Style(
            background="transparent",
            plot_background="transparent",
            # Of the page, so that they follow its light and its dark colours.
            foreground="var(--ink)",
            foreground_strong="var(--ink)",
            foreground_subtle="var(--faint)",
            guide_stroke_color="var(--line)",
            major_guide_stroke_color="var(--line)",
            guide_stroke_dasharray="none",
            major_guide_stroke_dasharray="none",
            opacity="1",
            colors=tuple(colours),
            font_family="system-ui, sans-serif",
            label_font_size=12,
            major_label_font_size=12,
        ),
    )


def _svg(chart: pygal.graph.graph.Graph, title: str) -> str:
    """The chart as SVG, without the script in which pygal keeps its settings, and with a title of its own."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == "script" or child.tag is ElementTree.Comment:
                parent.remove(child)
    heading = next(child for child in root if child.tag.endswith("title"))
    heading.text = title
    root.set("role", "img")
    root.set("aria-label", title)
    return ElementTree.tostring(root, encoding="unicode")
