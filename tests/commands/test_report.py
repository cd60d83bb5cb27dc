"""`relay report` on a real project: exact, whole, without buyers, and harmless whatever a product is called."""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from local_stack.surface import StackSurface
from relay.commands import sweep_lists
from relay.commands.endings import CommandError
from relay.commands.report.command import EXTRA
from relay.commands.report_page import axis, charts
from relay.commands.report_page.figures import Facts, Report
from testkit.database import Connection
from testkit.missing_libraries import without
from testkit.payments import Payment
from testkit.payments import reconcile as reconcile_as_made
from testkit.project import Project, open_project
from testkit.shop import HOSTILE_NAME

pytestmark = pytest.mark.anyio


FORMULA = '=HYPERLINK(1);=1+1\t@SUM(1);"-1\n+1'


def reconcile(service: Connection, payment: Payment) -> None:
    """The event was made just now."""
    reconcile_as_made(service, payment.but(event_created=datetime.now(UTC)))


@pytest.fixture(scope="module")
def project(stack: StackSurface) -> Iterator[Project]:
    """Payments in four currencies, one rejected, one unmatched; a product and a seller with hostile names."""
    with open_project(stack) as opened:
        opened.a_year_passes()
        shop = opened.shop
        opened.query(
            "update public.products set name = %s where id = %s returning id",
            HOSTILE_NAME,
            shop.sellers[0].product_ids[0],
        )
        opened.query("update public.sellers set name = %s where id = %s returning id", FORMULA, shop.sellers[0].id)
        opened.query("update public.sellers set name = %s where id = %s returning id", HOSTILE_NAME, shop.sellers[1].id)
        for items, currency in (
            ([[(1, "1234567.89")]], "USD"),
            ([[(2, "500")]], "JPY"),
            ([[(1, "1.230")]], "KWD"),
            ([[(1, "4500")]], "ISK"),
        ):
            reconcile(shop.service, shop.order_group(items, currency=currency).payment())
        payment = shop.order_group().payment().but(session_metadata={"email": "jenny@example.test"})
        reconcile(shop.service, payment)
        reconcile(shop.service, payment.rival().but(currency="<B>"))
        reconcile(shop.service, payment.rival().but(order_group_id=None, unmatched_reason="missing_reference"))
        yield opened


SWEEP = {
    "known": 7,
    "applied": 1,
    "rejected": [{"checkout_session_id": "cs_test_<b>", "order_group_id": None, "reason": "amount_mismatch"}],
    "unmatched": [],
    "failed": [],
    "paid_here_only": [],
}
FORGED = {"id": "re_forged01", "payment_intent_id": "pi_1", "order_group_id": None, "reason": "not_found"}
NO_REVERSALS = {"known": 1, "recorded": 0, "ignored": 0, "rejected": [], "failed": [], "here_only": []}


class Page(HTMLParser):
    """The tags of a page, the addresses in it, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


def checks_of(project: Project) -> int:
    count: int = project.query("select count(*) as checks from payments.invariants")[0]["checks"]
    return count


async def page(project: Project, tmp_path: Path, *arguments: str) -> tuple[str, Page]:
    file = tmp_path / "report.html"
    ended = await project.relay("report", "--since", "1d", "--html", str(file), *arguments)
    assert (ended.status, ended.output, ended.errors) == (0, "", "")
    return file.read_text(), Page(file.read_text())


async def test_the_page_shows_exact_amounts_in_the_decimals_of_their_currency(project: Project, tmp_path: Path) -> None:
    _, shown = await page(project, tmp_path)

    for amount in ("1,234,642.13 USD", "1,000 JPY", "1.230 KWD", "4,500 ISK"):
        assert amount in shown.words
    assert f"all {checks_of(project)} hold" in shown.words
    assert shown.tags.count("svg") == 1  # of no currency are there three payments


async def test_the_page_needs_nothing_else_and_runs_nothing(project: Project, tmp_path: Path) -> None:
    _, shown = await page(project, tmp_path)

    assert not {"script", "link", "iframe", "object", "img", "base", "form"} & set(shown.tags)
    assert not [name for name, _ in shown.attributes if name.startswith("on") or name in ("src", "href")]
    addresses = {value for _, value in shown.attributes if re.search(r"(https?:)?//", value)}
    assert addresses <= {"http://www.w3.org/2000/svg"}


async def test_names_and_sweeps_are_escaped(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(SWEEP))
    html, shown = await page(project, tmp_path, "--sweep", str(file))

    assert HOSTILE_NAME in shown.words
    assert "cs_test_<b>" in shown.words
    assert "<B>" in shown.words
    assert "<script" not in html.lower()
    assert "1 difference" in shown.words


async def test_no_buyer_is_on_the_page_nor_in_the_json(project: Project, tmp_path: Path) -> None:
    html, _ = await page(project, tmp_path)
    printed = (await project.relay("report", "--since", "1d", "--json")).output

    for text in (html, printed):
        assert "jenny" not in text
        assert str(project.shop.buyer_id) not in text


async def test_json_is_the_functions_answer_with_the_drift(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(SWEEP))
    ended = await project.relay("report", "--since", "1d", "--json", "--sweep", str(file))

    told = json.loads(ended.output)
    assert (ended.status, ended.errors) == (0, "")
    assert told.keys() == Report.__annotations__.keys() | {"drift", "other_mode"}
    assert (told["drift"], told["other_mode"]) == (SWEEP, None)
    assert {one["currency"] for one in told["totals"]} == {"USD", "JPY", "KWD", "ISK", "<B>"}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"applied": 3}, "no drift was left"),
        ({"refunds": NO_REVERSALS | {"recorded": 2}}, "no drift was left"),
        ({"refunds": NO_REVERSALS | {"here_only": [FORGED]}}, "1 difference was left"),
        ({"disputes": NO_REVERSALS | {"rejected": [FORGED], "failed": [FORGED]}}, "2 differences were left"),
        ({"rejected": SWEEP["rejected"], "applied": 3}, "1 difference was left"),
        ({"dry_run": True, "refunds": NO_REVERSALS}, "no drift was left"),
        ({"dry_run": True, "applied": 3}, "3 differences were left: 3 payments would be applied"),
        (
            {"dry_run": True, "applied": 1, "refunds": NO_REVERSALS | {"recorded": 2, "here_only": [FORGED]}},
            "4 differences were left: 1 payment would be applied, 2 refunds would be recorded, 1 needs a person",
        ),
        ({"dry_run": True, "disputes": NO_REVERSALS | {"recorded": 1}}, "1 dispute would be recorded"),
    ],
)
async def test_page_and_terminal_agree_on_what_the_sweep_left(
    project: Project, tmp_path: Path, found: dict[str, Any], words: str
) -> None:
    file, html = tmp_path / "sweep.json", tmp_path / "report.html"
    file.write_text(json.dumps(SWEEP | {"rejected": [], "applied": 0} | found))
    asked = ("report", "--since", "1d", "--sweep", str(file))

    told, written = await project.relay(*asked), await project.relay(*asked, "--html", str(html))

    line = told.output.splitlines()[-1]
    assert (line.startswith("last sweep: "), line.endswith(words)) == (True, True)
    assert [(one.status, one.errors) for one in (told, written)] == [(0, "")] * 2
    shown = Page(html.read_text())
    assert f"{line.removeprefix('last sweep: ').capitalize()}." in shown.words
    assert ("no drift" in shown.words, "re_forged01pi_1" in shown.words) == (
        words == "no drift was left",
        "re_forged01" in str(found),
    )
    done = "would be applied." if "dry_run" in found else "applied by the sweep."
    assert f"7 payments known to both sides, {found.get('applied', 0)} {done}" in shown.words


@pytest.mark.parametrize(
    "spoilt",
    [
        {"refunds": []},
        {"refunds": NO_REVERSALS | {"recorded": None}},
        {"refunds": NO_REVERSALS | {"recorded": True}},
        {"disputes": NO_REVERSALS | {"here_only": None}},
        {"disputes": {"known": 1, "recorded": 0}},
        {"disputes": NO_REVERSALS | {"failed": SWEEP["rejected"]}},
        {"rejected": [FORGED]},
        {"applied": "1"},
        {"failed": [None]},
    ],
)
def test_a_file_that_no_sweep_has_written_is_refused(spoilt: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(SWEEP | {"refunds": NO_REVERSALS, "disputes": NO_REVERSALS}))
    assert sweep_lists.read_file(file)["refunds"] == NO_REVERSALS

    file.write_text(json.dumps(SWEEP | spoilt))
    with pytest.raises(CommandError, match="is not the JSON of `relay sweep --json`"):
        sweep_lists.read_file(file)


def formulas(file: Path) -> set[str]:
    """The cells that a spreadsheet takes for formulas, whichever character separates cells in its country."""
    found = set()
    for delimiter in ",;\t":
        with file.open(newline="") as stream:
            found |= {cell for row in csv.reader(stream, delimiter=delimiter) for cell in row if cell[:1] in [*"=+-@"]}
    return found


async def test_csv_is_exact_and_no_formula(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "totals.csv"
    assert (await project.relay("report", "--since", "1d", "--csv", str(file))).status == 0

    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    amounts = {(row["currency"], row["outcome"]): row["amount"] for row in rows}
    assert amounts[("USD", "applied")] == "1234642.13"
    assert amounts[("KWD", "applied")] == "1.230"
    assert formulas(file) == set()


async def test_lines_add_up_to_the_report_and_are_no_formulas(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    assert (await project.relay("report", "--since", "1d", "--lines", str(file))).status == 0
    report = json.loads((await project.relay("report", "--since", "1d", "--json")).output)

    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        *("day", "group", "order", "seller", "intent", "amount", "kind"),
        *("currency", "session", "id", "at", "seller_name"),
    ]
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row["kind"], row["currency"]] += Decimal(row["amount"] or 0)
    for one in report["money"]:
        assert sums["payment", one["currency"]] == sums["order", one["currency"]] == Decimal(one["gross"])
    assert {row["kind"] for row in rows} == {"payment", "order", "rejected", "unmatched"}
    assert len(rows) == sum(day["lines"] for day in report["days"])
    (hostile,) = {row["seller_name"] for row in rows if row["seller"] == str(project.shop.sellers[0].id)}
    assert hostile == "'=HYPERLINK(1);'=1+1\t'@SUM(1);'\"-1\n'+1"
    assert formulas(file) == set()
    assert {row["currency"] for row in rows} == {"USD", "JPY", "KWD", "ISK", "<B>"}


async def test_a_dash_is_stdout(project: Project) -> None:
    ended = await project.relay("report", "--since", "1d", "--csv", "-")

    assert ended.output.splitlines()[0] == "day,currency,outcome,payments,amount"


async def test_a_check_that_does_not_hold_is_named_and_status_1(project: Project) -> None:
    (order,) = project.query(
        "select o.id from public.orders o join public.order_groups g on g.id = o.order_group_id"
        " where g.status = 'paid' and g.paid_at > now() - interval '1 day' limit 1"
    )
    change = "update public.orders set total_amount = total_amount + %s where id = %s returning id"
    with project.past_every_guard():
        project.query(change, 1, order["id"])
    try:
        ended = await project.relay("report", "--since", "1d")
    finally:
        with project.past_every_guard():
            project.query(change, -1, order["id"])

    assert ended.status == 1
    assert "does not hold: A paid total is the sum of its orders (1 fault)" in ended.output
    checks = checks_of(project)
    assert f"1 of {checks} checks does not hold: A paid total is the sum of its orders" in ended.errors
    assert f"checks: {checks - 1} of {checks} hold" in ended.output


async def test_an_empty_window_is_a_report_too(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    ended = await project.relay("report", "--since", "2020-01-01", "--until", "2020-02-01", "--html", str(file))

    assert ended.status == 0
    assert "No payment came in this window." in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--since", "1d", "--html", "/nonexistent/report.html"],
            "relay: /nonexistent/report.html: No such file or directory",
        ),
        (["--since", "1d", "--sweep", "/nonexistent/sweep.json"], "cannot read /nonexistent/sweep.json"),
        (["--since", "1d", "--sweep", "pyproject.toml"], "is not the JSON of `relay sweep --json`"),
        (["--since", "1d", "--until", "2d"], "--since must lie before --until"),
        (["--since", "1d", "--html", "-", "--csv", "-"], "only one of --html, --csv, --lines and --json"),
        (["--since", "1d", "--lines", "-", "--json"], "only one of --html, --csv, --lines and --json"),
        ([], "--since"),
    ],
)
async def test_what_cannot_run_is_status_2_in_words(project: Project, arguments: list[str], words: str) -> None:
    ended = await project.relay("report", *arguments)

    assert (ended.status, ended.output) == (2, "")
    assert words in ended.errors
    assert "Traceback" not in ended.errors


async def test_without_the_extra_only_the_page_is_refused_and_the_remedy_said(project: Project, tmp_path: Path) -> None:
    """A server has not got the extra's libraries."""
    hidden = without(EXTRA, tmp_path)

    assert (await project.relay("report", "--since", "1d", "--json", **hidden)).status == 0
    ended = await project.relay("report", "--since", "1d", "--html", str(tmp_path / "x.html"), **hidden)
    assert ended.status == 2
    assert "requirements/report.txt" in ended.errors
    assert not (tmp_path / "x.html").exists()


async def test_page_and_terminal_tell_what_was_paid_what_went_back_and_what_is_left(
    project: Project, tmp_path: Path
) -> None:
    """In the year before the window, so that it disturbs no other test."""
    made = datetime.now(UTC) - timedelta(days=500)
    service, shop = project.shop.service, project.shop
    group = shop.order_group([[(2, "5.50")], [(1, "9")]], currency="CHF")
    payment = group.payment().but(event_created=made)
    reconcile_as_made(service, payment)
    service.execute(
        "select public.record_refund('re_report', %s, 450, 4.50, 'chf', 'succeeded', %s, p_livemode => false)",
        [payment.payment_intent_id, made],
    )
    service.execute("select public.refund_order(%s, 'sold out')", [group.order_ids[1]])
    window = ["--since", (made - timedelta(days=1)).isoformat(), "--until", (made + timedelta(days=1)).isoformat()]

    file, lines, today = tmp_path / "report.html", tmp_path / "lines.csv", tmp_path / "today.html"
    assert (await project.relay("report", *window, "--html", str(file), "--lines", str(lines))).status == 0
    told = (await project.relay("report", *window)).output
    now = (await project.relay("report", "--since", "1d")).output
    assert (await project.relay("report", "--since", "1d", "--html", str(today))).status == 0
    words = " ".join(Page(file.read_text()).words.split())

    assert "Paid in CHF20.00 CHFrefunded 4.50 CHF, net 15.50 CHF" in words
    assert "before Stripe's fees and what disputes took" in words
    assert "less those whose refund failed in it after all" in words
    assert re.search(r"CHF +20\.00 CHF +4\.50 CHF +15\.50 CHF", told)
    assert re.search(r"opening +received +sold +came back +corrected +closing", now)
    assert "SKUProductOpeningReceivedSoldCame backCorrectedClosing" in Page(today.read_text()).words
    # By the database's clock, an order was given up today.
    assert re.search(r"0 +0\.00 CHF +9\.00 CHF +-9\.00 CHF", now)
    with lines.open(newline="") as stream:
        rows = [(row["kind"], row["amount"], row["group"]) for row in csv.DictReader(stream)]
    assert sorted(rows) == sorted(
        (kind, amount, str(group.id))
        for kind, amount in (("payment", "20.00"), ("order", "11.00"), ("order", "9.00"), ("refund", "-4.50"))
    )


async def test_payments_of_the_other_mode_are_named_in_one_sentence_wherever_they_are_told(
    project: Project, tmp_path: Path
) -> None:
    """Two hundred days before the other tests' windows: 14 of live mode and 15 of test mode, with a test key."""
    made = datetime.now(UTC) - timedelta(days=700)
    for amount, livemode in (("14", True), ("15", False)):
        payment = project.shop.order_group([[(1, amount)]]).payment()
        reconcile_as_made(project.shop.service, payment.but(event_created=made, livemode=livemode))
    window = ["--since", (made - timedelta(days=1)).isoformat(), "--until", (made + timedelta(days=1)).isoformat()]
    file, table = tmp_path / "report.html", tmp_path / "report.csv"
    live = project.environment()["STRIPE_SECRET_KEY"].replace("_test_", "_live_")

    told = await project.relay("report", *window)
    written = await project.relay("report", *window, "--html", str(file), "--csv", str(table))
    read = await project.relay("report", *window, "--json")
    with_a_live_key = await project.relay("report", *window, STRIPE_SECRET_KEY=live)

    rest = 'one database is for one mode (docs/environments.md, "One database, one mode")'
    sentence = f"1 payment of live mode is in these sums, and the key is of test mode: {rest}"
    assert [(one.status, one.errors) for one in (told, written, read)] == [(0, f"relay: {sentence}\n")] * 3
    assert f"\n{sentence}\n" in told.output
    assert re.search(r"USD +29\.00 USD", told.output)
    assert f"{sentence}." in Page(file.read_text()).words
    answer = json.loads(read.output)
    assert answer["other_mode"] == sentence
    assert answer["modes"] == [{"mode": "live", "payments": 1}, {"mode": "test", "payments": 1}]
    assert with_a_live_key.errors == (
        f"relay: 1 payment of test mode is in these sums, and the key is of live mode: {rest}\n"
    )


def facts_of(since: str, until: str, *days: str) -> Facts:
    row = {"currency": "KWD", "outcome": "applied", "payments": 2, "amount": "0.100"}
    report: Any = {
        "since": f"{since}T00:00:00+00:00",
        "until": f"{until}T00:00:00+00:00",
        "totals": [{**row, "day": day} for day in days],
    }
    return Facts(report)


@pytest.mark.parametrize(
    ("since", "until", "count", "first", "last"),
    [
        ("2026-11-01", "2026-12-01", 30, "2026-11-01", "2026-11-30"),
        ("2026-11-23", "2026-11-24", 1, "2026-11-23", "2026-11-23"),
        ("2026-09-01", "2026-12-02", 92, "2026-09-01", "2026-12-01"),
        ("2026-09-01", "2026-12-03", 4, "2026-09", "2026-12"),
        ("2025-11-26", "2026-11-26", 13, "2025-11", "2026-11"),
        ("2010-01-01", "2026-01-01", 16, "2010", "2025"),
    ],
)
def test_the_axis_is_the_window_whatever_came_in_it(since: str, until: str, count: int, first: str, last: str) -> None:
    facts = facts_of(since, until, since)
    periods = facts.periods

    assert (len(periods), periods[0], periods[-1]) == (count, first, last)
    assert facts.payments_in(periods, "applied") == [2, *[0] * (count - 1)]


@pytest.mark.parametrize(("since", "until"), [("2026-11-01", "2026-12-01"), ("2025-11-26", "2026-11-26")])
def test_a_quiet_week_is_shown_and_nothing_is_lost(since: str, until: str) -> None:
    facts = facts_of(since, until, "2026-11-01", "2026-11-01", "2026-11-14")
    periods = facts.periods

    counts = facts.payments_in(periods, "applied")
    assert sum(counts) == 6
    assert sum(facts.paid_in(periods, "KWD")) == facts.paid[0][1] == Decimal("0.300")
    if len(periods) == 30:
        assert counts == [4, *[0] * 12, 2, *[0] * 16]


@pytest.mark.parametrize(
    ("highest", "whole", "lines"),
    [
        (3, True, [0, 1, 2, 3]),
        (4, True, [0, 1, 2, 3, 4]),
        (5, True, [0, 2, 4, 6]),
        (41, True, [0, 20, 40, 60]),
        (100_000, True, [0, 50_000, 100_000]),
        (0, True, [0, 1]),
        (0.3, False, [0, 0.1, 0.2, 0.3]),
        (74.24, False, [0, 20, 40, 60, 80]),
        (99_999_999.99, False, [0, 50_000_000, 100_000_000]),
    ],
)
def test_the_y_axis_has_round_numbers_and_five_lines_at_most(highest: float, whole: bool, lines: list[float]) -> None:
    assert axis.lines(highest, whole=whole) == lines
    for number in range(1, 5000):
        at = axis.lines(number * highest / 977, whole=whole)
        assert len(at) <= 5
        assert at[0] == 0
        assert at[-1] >= number * highest / 977 - 1e-9


@pytest.mark.parametrize(("payments", "drawn"), [(2, []), (3, ["KWD"])])
def test_fewer_than_three_payments_are_no_chart(payments: int, drawn: list[str]) -> None:
    facts = facts_of("2026-11-01", "2026-12-01", "2026-11-23")
    facts.report["totals"][0]["payments"] = payments

    shown = charts.drawn(facts)

    assert [chart["currency"] for chart in shown["money_charts"]] == drawn
    assert (shown["payments_chart"] is not None) == bool(drawn)
    if drawn:
        titles = [re.findall("<title>(.*?)</title>", svg)[0] for svg in (
            shown["payments_chart"], shown["money_charts"][0]["svg"]
        )]  # fmt: skip
        assert titles == [
            "Payments by outcome per day, 1 Nov to 30 Nov",
            "Paid in KWD per day, 1 Nov to 30 Nov",
        ]


def test_exceptions_are_counted_by_age() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    seen = [{"first_seen_at": (now - timedelta(hours=h)).isoformat()} for h in (1, 23, 24, 71, 100, 800)]
    report: Any = {"generated_at": now.isoformat(), "exceptions": seen}
    facts = Facts(report)

    assert [count for _, count in facts.ages] == [2, 2, 1, 0, 1]
