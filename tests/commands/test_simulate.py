"""`relay simulate` against a running relay and a real project: it passes where the relay keeps the contract, and shows
each difference where it does not."""

import json
import re
import secrets
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from relay.commands.simulate.scenarios import SCENARIOS
from relay.commands.simulate.shop import NAME
from relay.server.webhook import PATH
from testkit.command_line import Ended
from testkit.data_api_server import DataApi, Reply
from testkit.project import Project
from testkit.relay_under_test import Relay, serving
from testkit.stripe_api_server import StripeServer
from testkit.sweeping import NO_REVERSALS, sweep

pytestmark = pytest.mark.anyio


@pytest.fixture
async def relay(project: Project, anyio_backend: str) -> AsyncIterator[Relay]:
    assert anyio_backend == "asyncio"
    async with serving(project.environment()) as running:
        yield running


async def simulate(project: Project, relay: Relay, *arguments: str, **changes: str) -> tuple[Ended, dict[str, Any]]:
    """The command's end, and what it printed as JSON: the scenarios by their names."""
    ended = await project.relay("simulate", "--url", relay.url + PATH, "--json", *arguments, **changes)
    told = json.loads(ended.output) if ended.output else {"scenarios": []}
    return ended, {one["name"]: one for one in told["scenarios"]}


async def test_every_scenario_passes_on_groups_made_for_it(project: Project) -> None:
    two = f"{project.stack.stripe_webhook_secret},whsec_{secrets.token_hex(16)}"
    both = {"STRIPE_WEBHOOK_SECRET": two, "STRIPE_LIFECYCLE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(16)}"}
    async with serving(project.environment(**both)) as relay:
        ended, played = await simulate(project, relay, "--create", **both)

    assert (ended.status, ended.errors) == (0, "")
    assert played.keys() == SCENARIOS.keys()
    assert all(one["passed"] for one in played.values())
    groups = {one["order_group_id"] for one in played.values()} - {None}
    rows = project.query("select id::text, status, currency from public.order_groups where id = any(%s)", list(groups))
    assert {row["status"] for row in rows} == {"paid", "pending", "cancelled", "refunded"}
    assert {row["currency"] for row in rows} == {"USD", "JPY", "KWD", "ISK"}
    sellers = project.query(
        "select distinct s.name from public.sellers s join public.orders o on o.seller_id = s.id"
        " where o.order_group_id = any(%s)",
        [uuid.UUID(group) for group in groups],
    )
    assert [row["name"] for row in sellers] == [NAME]
    levels = project.query("select on_hand from public.inventory_levels where name = %s", NAME)
    assert levels
    assert all(row["on_hand"] > 0 for row in levels)


async def test_a_second_simulation_sells_what_the_first_has_made_and_receives_only_what_is_short(
    project: Project, relay: Relay
) -> None:
    asked = ("--create", "--scenario", "paid", "--scenario", "yen")

    def shop() -> list[dict[str, Any]]:
        return project.query(
            "select s.id as seller, p.id as product, l.available, (select count(*) from public.inventory_ledger as e"
            " where e.product_id = p.id and e.quantity_delta > 0) as receipts"
            " from public.sellers s left join public.products p on p.seller_id = s.id"
            " left join public.inventory_levels l on l.product_id = p.id where s.name = %s order by p.id",
            NAME,
        )

    assert (await simulate(project, relay, *asked))[0].status == 0
    first = shop()
    assert (await simulate(project, relay, *asked))[0].status == 0
    second = shop()
    assert second == [{**row, "available": row["available"] - 2} for row in first]
    assert len({row["seller"] for row in first}) == len(first) == 2

    short = second[0]
    correct = "select public.record_inventory_adjustment(%s, %s, 'lost')"
    project.query(correct, short["product"], 99 - short["available"])
    assert (await simulate(project, relay, *asked))[0].status == 0
    assert shop() == [
        {**short, "available": 99 + 1000 - 2, "receipts": short["receipts"] + 1},
        {**second[1], "available": second[1]["available"] - 2},
    ]


async def test_a_simulation_leaves_the_next_sweep_nothing_and_the_report_no_money(
    project: Project, stripe: StripeServer
) -> None:
    both = {"STRIPE_LIFECYCLE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(16)}"}
    async with serving(project.environment(**both)) as relay:
        ended, played = await simulate(project, relay, "--create", **both)
    assert (ended.status, ended.errors) == (0, "")
    paid = project.query(
        "select count(*) as groups from public.order_groups where stripe_checkout_session_id like 'cs_test_sim_%%'"
        " and id = any(%s)",
        [one["order_group_id"] for one in played.values() if one["order_group_id"]],
    )

    swept, told = await sweep(project, stripe)
    report = json.loads((await project.relay("report", "--since", "1d", "--json")).output)

    assert swept.status == 0
    assert told == {
        "known": 0, "applied": 0, "simulated": paid[0]["groups"], "applied_now": [], "rejected": [], "unmatched": [],
        "failed": [], "paid_here_only": [], "refunds": NO_REVERSALS, "disputes": NO_REVERSALS,
    }  # fmt: skip
    assert paid[0]["groups"] > 5
    assert (report["money"], report["sellers"]) == ([], [])
    assert {one["outcome"] for one in report["totals"]} == {"simulated"}
    assert {one["currency"] for one in report["simulated"]} == {"USD", "JPY", "KWD", "ISK"}
    told_to_people = (await project.relay("report", "--since", "1d")).output
    (sums,) = re.findall(
        r"^paid by relay simulate: (.+)\n"
        r"  no money, in no other sum; what it had set aside is `simulated` by day as well$",
        told_to_people,
        re.MULTILINE,
    )
    assert re.findall(r"[A-Z]+", sums) == ["ISK", "JPY", "KWD", "USD"]


async def test_each_answer_is_told_and_what_was_expected_where_it_differs(project: Project, relay: Relay) -> None:
    asked = ("simulate", "--url", relay.url + PATH, "--create", "--scenario", "debit")
    ended = await project.relay(*asked)
    other = await project.relay(*asked, STRIPE_WEBHOOK_SECRET=f"whsec_{secrets.token_hex(16)}")

    assert (ended.status, ended.output) == (
        0,
        "result  scenario  delivery            answer\n"
        "ok      debit     completed, unpaid   200 awaiting_funds\n"
        "ok      debit     the money has come  200 applied\n"
        "\n1 as expected, 0 different, 0 skipped\n",
    )
    assert other.status == 1
    assert [line.split("  ")[-1].strip() for line in other.output.splitlines()] == [
        "answer",
        "400 refused (invalid_signature), expected 200 awaiting_funds",
        "400 refused (invalid_signature), expected 200 applied",
        "pending, expected paid",
        "",
        "0 as expected, 1 different, 0 skipped",
        "The running relay has another STRIPE_WEBHOOK_SECRET than these settings: both need the same.",
    ]


async def test_an_address_without_a_route_is_told_by_what_is_missing(project: Project, relay: Relay) -> None:
    without_path = await project.relay("simulate", "--url", relay.url, "--create", "--scenario", "paid")
    off_there = await project.relay(
        *("simulate", "--url", relay.url + PATH, "--create", "--scenario", "expired"),
        STRIPE_LIFECYCLE_WEBHOOK_SECRET=f"whsec_{secrets.token_hex(16)}",
    )

    assert (without_path.status, off_there.status) == (1, 1)
    assert without_path.output.splitlines()[-1] == (
        "No webhook is at this address: --url names all of it, with /api/stripe/webhook."
    )
    assert off_there.output.splitlines()[-1] == (
        "The running relay has no STRIPE_LIFECYCLE_WEBHOOK_SECRET, so its lifecycle route is not there."
    )


async def test_a_relay_with_another_secret_differs_and_says_so(project: Project, relay: Relay) -> None:
    other = f"whsec_{secrets.token_hex(16)}"
    ended, played = await simulate(
        project, relay, "--create", "--scenario", "paid", "--scenario", "tampered-body", STRIPE_WEBHOOK_SECRET=other
    )

    assert ended.status == 1
    assert played["tampered-body"]["passed"]
    assert not played["paid"]["passed"]
    (step,) = played["paid"]["steps"]
    assert step["expected"] == {"status": 200, "outcome": "applied", "reason": None}
    assert step["actual"] == {"status": 400, "outcome": "refused", "reason": "invalid_signature"}
    assert played["paid"]["order_group_status"] == {"expected": "paid", "actual": "pending"}


async def test_a_given_group_is_paid_once_and_the_rest_is_skipped_with_its_reason(
    project: Project, relay: Relay
) -> None:
    group = project.shop.order_group()

    ended, played = await simulate(project, relay, "--group", str(group.id))

    assert ended.status == 0
    assert played["paid"]["passed"]
    assert played["wrong-amount"]["passed"]
    assert played["duplicate"]["passed"]
    assert "this one is paid" in played["debit"]["skipped"]
    assert played["yen"]["skipped"] == "needs a group in JPY, this one is in USD"
    assert "one secret" in played["rolled-secret"]["skipped"]
    assert played["expired"]["skipped"] == "STRIPE_LIFECYCLE_WEBHOOK_SECRET is not set"
    assert project.group(group)["status"] == "paid"


async def test_a_scenario_that_was_asked_for_and_cannot_be_played_is_status_2(project: Project, relay: Relay) -> None:
    group = project.shop.order_group()

    ended, played = await simulate(project, relay, "--group", str(group.id), "--scenario", "yen")
    assert (ended.status, played["yen"]["passed"]) == (2, None)

    ended, _ = await simulate(project, relay, "--scenario", "paid")
    assert ended.status == 2
    assert project.group(group)["status"] == "pending"


async def test_without_a_group_what_needs_none_is_played(project: Project, relay: Relay) -> None:
    ended, played = await simulate(project, relay)

    assert ended.status == 0
    assert {name for name, one in played.items() if one["passed"]} == {
        "tampered-body",
        "old-timestamp",
        "future-timestamp",
        "foreign-session",
        "thin-event",
    }


async def test_tidy_dismisses_what_the_simulation_left_and_nothing_else(project: Project, relay: Relay) -> None:
    await simulate(project, relay, "--create", "--scenario", "wrong-amount")
    before = project.query("select id from payments.exceptions where status = 'open' order by id")

    ended, played = await simulate(project, relay, "--create", "--tidy", "--scenario", "late")

    assert ended.status == 0
    assert project.query("select id from payments.exceptions where status = 'open' order by id") == before
    (row,) = project.query(
        "select * from payments.exceptions where stripe_event_id = %s", played["late"]["steps"][0]["event_id"]
    )
    assert (row["resolution"], row["resolved_by"]) == ("dismissed", "relay simulate")


async def test_a_lost_dispute_is_dismissed_by_tidy_and_a_won_one_needs_nobody(project: Project) -> None:
    own = {"STRIPE_LIFECYCLE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(16)}"}
    async with serving(project.environment(**own)) as relay:
        ended, played = await simulate(
            project, relay, "--create", "--tidy", "--scenario", "dispute-won", "--scenario", "dispute-lost", **own
        )

    assert (ended.status, ended.errors) == (0, "")

    def words(name: str) -> list[tuple[str, str, str]]:
        rows = project.query(
            "select reason, resolution, resolved_by from payments.exceptions where order_group_id = %s",
            uuid.UUID(played[name]["order_group_id"]),
        )
        return [(row["reason"], row["resolution"], row["resolved_by"]) for row in rows]

    assert words("dispute-won") == [("payment_disputed", "dismissed", "stripe")]
    assert words("dispute-lost") == [("payment_disputed", "dismissed", "relay simulate")]


async def test_a_live_key_is_refused_before_anything_is_written_or_sent(project: Project, relay: Relay) -> None:
    before = project.snapshot()

    ended, _ = await simulate(project, relay, "--create", STRIPE_SECRET_KEY=f"sk_live_{secrets.token_hex(16)}")

    assert (ended.status, ended.output) == (2, "")
    assert "live key" in ended.errors
    assert project.snapshot() == before
    assert relay.lines == []


async def test_a_relay_that_does_not_run_is_status_2(project: Project) -> None:
    ended = await project.relay("simulate", "--url", "http://127.0.0.1:9" + PATH)

    assert (ended.status, ended.output) == (2, "")
    assert "no answer from http://127.0.0.1:9" in ended.errors
    assert "--url" in ended.errors
    assert "Traceback" not in ended.errors


async def test_a_password_in_the_url_is_used_and_not_printed(project: Project, data_api: DataApi) -> None:
    data_api.always = Reply(200, "a page", "text/html")
    url = f"{data_api.url.replace('//', '//ada:open@')}{PATH}"

    there = await project.relay("simulate", "--url", url, "--scenario", "thin-event", "--json")
    gone = await project.relay("simulate", "--url", "http://ada:open@127.0.0.1:9" + PATH)

    assert data_api.calls[-1].headers["authorization"] == "Basic " + b64encode(b"ada:open").decode()
    assert json.loads(there.output)["url"] == data_api.url + PATH
    assert "no answer from http://127.0.0.1:9" in gone.errors
    assert "open" not in there.output + there.errors + gone.output + gone.errors


async def test_an_unknown_group_is_status_2_before_anything_is_sent(project: Project, relay: Relay) -> None:
    unknown = str(uuid.uuid4())

    ended, _ = await simulate(project, relay, "--group", unknown)

    assert (ended.status, relay.lines) == (2, [])
    assert f"there is no order group {unknown}" in ended.errors


async def test_something_that_is_no_relay_is_a_difference(project: Project, data_api: DataApi) -> None:
    data_api.always = Reply(200, "a page", "text/html")

    ended = await project.relay("simulate", "--url", data_api.url, "--scenario", "thin-event")

    assert ended.status == 1
    assert "not an answer of a relay" in ended.output


async def test_a_wrong_path_of_a_relay_is_a_difference(project: Project, relay: Relay) -> None:
    ended = await project.relay("simulate", "--url", relay.url + "/healthz", "--scenario", "thin-event")

    assert ended.status == 1
    assert "404 refused (wrong_path)" in ended.output
