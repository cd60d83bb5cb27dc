"""A report's charts as SVG that stands in the page: no script, no font, no address of anywhere."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from xml.etree import ElementTree

import pygal
from pygal.style import Style

# Dark enough on paper, apart for colour-blind eyes (Okabe and Ito), and readable as grey.
COLOURS = {
    "applied": "#0072B2",
    "already_paid": "#56B4E9",
    "resolved": "#009E73",
    "rejected": "#D55E00",
    "unmatched": "#E69F00",
}
# With more bars than this their values would overlap; the table below has all of them.
_MOST_VALUES = 10
# About as wide as on a phone, and half as wide as the page: so the letters are as large as the text around them.
_WIDTH, _HEIGHT = 480, 260


def payments_by_day(days: Sequence[str], counts: Mapping[str, Sequence[int]]) -> str:
    """Stacked bars: how many payments ended how, on each day."""
    chart = _chart(pygal.StackedBar, days, [COLOURS.get(outcome, "#666666") for outcome in counts])
    for outcome, values in counts.items():
        chart.add(outcome.replace("_", " "), list(values))
    return _svg(chart)


def money_by_day(days: Sequence[str], amounts: Sequence[Decimal], decimals: int) -> str:
    """Bars: what was paid on each day, in one currency. Their height is a float, the number beside it is exact."""
    chart = _chart(pygal.Bar, days, [COLOURS["applied"]])
    chart.value_formatter = lambda value: f"{value:,.{decimals}f}"
    chart.add("paid", [{"value": float(amount), "formatter": _exactly(amount, decimals)} for amount in amounts])
    return _svg(chart)


def _exactly(amount: Decimal, decimals: int) -> Callable[[float], str]:
    return lambda _: f"{amount:,.{decimals}f}"


def _chart(kind: type, days: Sequence[str], colours: Sequence[str]) -> pygal.graph.graph.Graph:
    return kind(
        js=[],
        width=_WIDTH,
        height=_HEIGHT,
        explicit_size=False,
        x_labels=[day[5:] for day in days],
        x_label_rotation=45 if len(days) > _MOST_VALUES else 0,
        show_minor_x_labels=False,
        x_labels_major_every=max(1, len(days) // 10),
        print_values=len(days) <= _MOST_VALUES,
        print_zeroes=False,
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
            value_font_size=11,
            value_colors=("#111111",) * 8,
        ),
    )


def _svg(chart: pygal.graph.graph.Graph) -> str:
    """The drawing alone. pygal puts its settings into a script; a page that is printed needs none."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == "script" or child.tag is ElementTree.Comment:
                parent.remove(child)
    root.set("role", "img")
    return ElementTree.tostring(root, encoding="unicode")
