"""The report's charts, colours and printed pages, measured in a real Chromium."""

import itertools
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from relay.commands.report_page import page
from relay.commands.report_page.figures import Facts

pytestmark = pytest.mark.anyio

UNTIL = date(2026, 11, 26)
WIDTHS = (360, 768, 1280)


def facts(days: int, *, exceptions: int = 1) -> Facts:
    """Payments on every day but those of one week; the last sweep; exceptions that wait."""
    since = UNTIL - timedelta(days=days)
    totals = [
        {
            "day": (since + timedelta(days=place)).isoformat(),
            "currency": "USD",
            "outcome": "applied",
            "payments": 1 + place % 7,
            "amount": f"{(1 + place % 7) * 74.24:.2f}",
        }
        for place in range(days)
        if not 8 <= place <= 14
    ]
    report: Any = {
        "since": f"{since}T00:00:00+00:00",
        "until": f"{UNTIL}T00:00:00+00:00",
        "generated_at": f"{UNTIL}T03:00:00+00:00",
        "totals": totals,
        "days": [],
        "modes": [{"mode": "test", "payments": 1}],
        "money": [{"currency": "USD", "gross": "7424.00", "refunded": "74.24", "net": "7349.76"}],
        "simulated": [{"currency": "USD", "gross": "40", "refunded": "0", "net": "40"}],
        "sellers": [],
        "exceptions": [
            {
                "id": number,
                "reason": "missing_reference",
                "attempts": 1,
                "first_seen_at": f"{UNTIL - timedelta(days=2)}T03:00:00+00:00",
                "order_group_id": None,
                "checkout_session_id": f"cs_test_{number:058}",
                "currency": "USD",
                "amount": "74.24",
                "expected_currency": None,
                "expected_amount": None,
            }
            for number in range(exceptions)
        ],
        "stock": [],
        "adjustments": [],
        "checks": [],
    }
    swept = {"since": f"{since}T00:00:00+00:00", "until": f"{UNTIL}T00:00:00+00:00", "dry_run": False}
    lists: dict[str, Any] = {name: [] for name in ("rejected", "unmatched", "failed", "paid_here_only")}
    drift = {"known": 1, "applied": 0, "finished_at": f"{UNTIL}T03:00:00+00:00", **swept, **lists}
    return Facts(report, drift, "abcdefghijklmnopqrst.supabase.co", "test")


async def opened(browser: Browser, tmp_path: Path, told: Facts, *, width: int = 1280, **options: Any) -> Page:
    file = tmp_path / "report.html"
    file.write_text(page.render(told))
    context = await browser.new_context(viewport={"width": width, "height": 900}, **options)
    shown = await context.new_page()
    await shown.goto(file.as_uri())
    return shown


# Of each chart: the middles of bars and labels in pixels of the screen, how labels are turned, and the y axis's labels.
MEASURE = """() => [...document.querySelectorAll("figure svg")].map((svg) => {
  const middle = (e) => { const box = e.getBoundingClientRect(); return (box.left + box.right) / 2; };
  const shown = (e) => getComputedStyle(e).display !== "none" && e.getBoundingClientRect().width > 0;
  const labels = [...svg.querySelectorAll(".axis.x text")].filter(shown);
  const columns = [...svg.querySelectorAll(".bars rect")].map(middle);
  return {
    title: svg.querySelector("title").textContent,
    bars: [...new Set(columns.map((x) => Math.round(x)))],
    labels: labels.map((e) => [e.textContent, middle(e), e.getBoundingClientRect()]).map(
      ([text, x, box]) => [text, x, box.left, box.right]),
    turned: labels.filter((e) => e.getBoundingClientRect().height > 25).length,
    y: [...svg.querySelectorAll(".axis.y text")].map((e) => e.textContent),
    lines: svg.querySelectorAll(".axis.y path.guide, .axis.y path.line").length,
  };
})"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("days", "bars", "first", "title"),
    [
        (30, 30, "27 Oct", "per day, 27 Oct to 25 Nov"),
        (365, 13, "Nov 2025", "per month, Nov 2025 to Nov 2026"),
    ],
)
async def test_labels_stand_under_their_own_bars_and_the_axis_is_the_window(
    browser: Browser, tmp_path: Path, days: int, bars: int, first: str, title: str, width: int
) -> None:
    shown = await opened(browser, tmp_path, facts(days), width=width)
    charts = await shown.evaluate(MEASURE)
    await shown.context.close()

    assert [chart["title"] for chart in charts] == [f"Payments by outcome {title}", f"Paid in USD {title}"]
    for chart in charts:
        assert len(chart["bars"]) == bars
        assert chart["labels"][0][0] == first
        assert chart["turned"] == 0
        for _, middle, _, _ in chart["labels"]:
            assert min(abs(middle - bar) for bar in chart["bars"]) <= 3
        ends = [(left, right) for _, _, left, right in chart["labels"]]
        assert all(one[1] < other[0] for one, other in itertools.pairwise(ends))
        assert 2 <= len(chart["y"]) <= 5
        assert chart["y"][0] == "0"


@pytest.mark.parametrize(("scheme", "page_is_light"), [("light", True), ("dark", False)])
async def test_page_and_charts_follow_the_readers_colours(
    browser: Browser, tmp_path: Path, scheme: str, page_is_light: bool
) -> None:
    shown = await opened(browser, tmp_path, facts(30), color_scheme=scheme)
    colours = await shown.evaluate(
        """() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
          getComputedStyle(document.querySelector(".axis.x text.major, .axis.x text")).fill]"""
    )
    await shown.context.close()

    background, ink, label = ([int(part) for part in re.findall(r"\d+", colour)[:3]] for colour in colours)
    assert (sum(background) > 600) is page_is_light
    assert ink == label
    assert abs(sum(ink) - sum(background)) > 500


async def test_project_mode_sweep_and_simulated_money_are_on_the_page(browser: Browser, tmp_path: Path) -> None:
    shown = await opened(browser, tmp_path, facts(30))
    words = await shown.evaluate("() => document.body.innerText")
    await shown.context.close()

    for told in (
        "Project abcdefghijklmnopqrst.supabase.co, test mode: no real money",
        "Run, 2026-11-26 03:00:00 UTC, over 2026-10-27 00:00:00 UTC to 2026-11-26 00:00:00 UTC.",
        "Simulated in USD\n40.00 USD\npaid by relay simulate; no money, in no other sum",
    ):
        assert told in words


async def test_four_thousand_exceptions_are_few_pages_with_numbers(browser: Browser, tmp_path: Path) -> None:
    shown = await opened(browser, tmp_path, facts(30, exceptions=4000))
    words = await shown.evaluate("() => document.body.innerText")
    rules = await shown.evaluate(
        """() => [...document.styleSheets[0].cssRules].filter((rule) => rule.media?.mediaText === "print")
          .flatMap((rule) => [...rule.cssRules]).map((rule) => rule.cssText)
          .filter((text) => text.startsWith("@page"))"""
    )
    printed = await shown.pdf(prefer_css_page_size=True)
    await shown.context.close()

    assert "3,950 more open exceptions: relay exceptions list has all of them, the oldest are here." in words
    assert "missing reference\t4,000" in words
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 5
    (rule,) = rules  # Chromium keeps only what it understands
    assert re.search(r'@bottom-right \{ content: counter\(page\) " of " counter\(pages\);', rule)
