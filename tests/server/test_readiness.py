"""`/readyz` names each precondition that fails, and cannot be used to load the database."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.config import Settings
from relay.server import readiness
from relay.server.app import READINESS
from testkit.data_api_server import DataApi, Hang, Reply, Wait
from testkit.relay_under_test import Relay, environ, serving
from testkit.stripe_events import WEBHOOK_SECRET

pytestmark = pytest.mark.anyio


async def failed(relay: Relay) -> tuple[int, list[str]]:
    """The status, and the names of the failed checks."""
    status, text = await relay.get("/readyz")
    answer = json.loads(text)
    assert answer.keys() == {"ready", "checks"}
    assert all(check.keys() == {"name", "ok", "detail"} for check in answer["checks"])
    assert answer["ready"] is (status == 200) is all(check["ok"] for check in answer["checks"])
    return status, [check["name"] for check in answer["checks"] if not check["ok"]]


async def test_a_healthy_database_makes_the_relay_ready(relay: Relay) -> None:
    assert await failed(relay) == (200, [])


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"can_execute": False}, ["execute_right"]),
        ({"anon_can_execute": True}, ["anon_locked_out"]),
        ({"anon_can_execute": None}, ["anon_locked_out"]),
        ({"currencies": {"USD": 2}}, ["currencies"]),
        ({"currencies": None}, ["currencies"]),
        ({"server_time": "2020-01-01T00:00:00+00:00"}, ["clock"]),
        ({"server_time": "2099-01-01T00:00:00+00:00"}, ["clock"]),
        ({"server_time": "soon"}, ["clock"]),
        ({"server_time": None}, ["clock"]),
    ],
)
async def test_each_failed_precondition_is_named(
    relay: Relay, data_api: DataApi, change: dict[str, Any], names: list[str]
) -> None:
    data_api.readiness |= change

    assert await failed(relay) == (503, names)


SPOKEN, OLDEST = readiness.CONTRACT_VERSION, readiness.OLDEST_DATABASE
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
UNKNOWN = f"relay {SPOKEN}, database unknown: `supabase db push --remote` brings it to this release"


async def contract_check(relay: Relay) -> tuple[bool, str]:
    """Whether the two contracts meet, and what the operator is told; nothing else fails."""
    status, names = await failed(relay)
    assert (status, names) in [(200, []), (503, ["contract_version"])]
    _, text = await relay.get("/readyz")
    (check,) = (check for check in json.loads(text)["checks"] if check["name"] == "contract_version")
    return check["ok"], check["detail"]


@pytest.mark.parametrize(
    ("newest", "oldest"),
    [(SPOKEN, SPOKEN), (SPOKEN + 1, SPOKEN), (SPOKEN + 7, SPOKEN), (SPOKEN + 7, 1), (OLDEST, OLDEST), (OLDEST, 1)],
)
async def test_the_relay_is_ready_where_the_two_ranges_meet(
    relay: Relay, data_api: DataApi, newest: int, oldest: int
) -> None:
    data_api.readiness |= {"contract_version": newest, "oldest_contract_version": oldest}

    assert await contract_check(relay) == (True, f"relay {SPOKEN}, database {newest}")


async def test_a_database_that_serves_later_relays_only_asks_for_a_newer_relay(relay: Relay, data_api: DataApi) -> None:
    data_api.readiness |= {"contract_version": SPOKEN + 2, "oldest_contract_version": SPOKEN + 1}

    told = f"relay {SPOKEN}, database {SPOKEN + 2}: upgrade the relay, this database serves {SPOKEN + 1} and later"
    assert await contract_check(relay) == (False, told)


async def test_a_database_older_than_the_relay_works_with_is_to_be_upgraded(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "CONTRACT_VERSION", SPOKEN + 2)
    monkeypatch.setattr(readiness, "OLDEST_DATABASE", SPOKEN + 1)

    needed = f"this relay needs {SPOKEN + 1} or later: `supabase db push --remote`"
    told = f"relay {SPOKEN + 2}, database {SPOKEN}: upgrade the database, {needed}"
    assert await contract_check(relay) == (False, told)


@pytest.mark.parametrize(("newest", "ok"), [(SPOKEN, True), (SPOKEN + 1, False)])
async def test_a_database_that_names_no_oldest_relay_serves_its_own_version_alone(
    relay: Relay, data_api: DataApi, newest: int, ok: bool
) -> None:
    data_api.readiness["contract_version"] = newest
    del data_api.readiness["oldest_contract_version"]

    assert (await contract_check(relay))[0] is ok


@pytest.mark.parametrize("odd", [True, False, None, "1", "", 1.0, 1.5, 0, -1, [1], {}], ids=repr)
@pytest.mark.parametrize("key", ["contract_version", "oldest_contract_version"])
async def test_a_contract_version_that_is_no_version_never_passes(
    relay: Relay, data_api: DataApi, key: str, odd: object
) -> None:
    data_api.readiness[key] = odd

    assert await contract_check(relay) == (False, UNKNOWN)


async def test_a_reversed_range_never_passes(relay: Relay, data_api: DataApi) -> None:
    data_api.readiness |= {"contract_version": SPOKEN, "oldest_contract_version": SPOKEN + 1}

    assert await contract_check(relay) == (False, UNKNOWN)


async def test_one_wrong_exponent_is_named_with_its_currency(relay: Relay, data_api: DataApi) -> None:
    data_api.readiness["currencies"]["ISK"] = 0

    _, text = await relay.get("/readyz")

    assert "different: ISK" in text


@pytest.mark.parametrize(("version", "answer"), [(1, (503, ["currencies"])), (2, (200, []))])
async def test_a_currency_that_the_database_alone_knows_is_no_obstacle_where_the_database_is_newer(
    relay: Relay, data_api: DataApi, version: int, answer: tuple[int, list[str]]
) -> None:
    data_api.readiness |= {"contract_version": version, "oldest_contract_version": 1}
    data_api.readiness["currencies"]["XTS"] = 0

    assert await failed(relay) == answer
    _, text = await relay.get("/readyz")
    assert "XTS" in text


async def test_a_currency_that_the_database_lacks_is_named(relay: Relay, data_api: DataApi) -> None:
    del data_api.readiness["currencies"]["CHF"]

    assert await failed(relay) == (503, ["currencies"])
    _, text = await relay.get("/readyz")
    assert "different: CHF" in text


@pytest.mark.parametrize(
    ("skew", "ok", "detail"),
    [
        (-0.04, True, "+0.0 s from the database's"),
        (0.04, True, "+0.0 s from the database's"),
        (-150, True, "-150.0 s from the database's"),
        (
            150.5,
            False,
            "+150.5 s from the database's: set this machine's clock by NTP, else honest deliveries are refused",
        ),
    ],
)
def test_the_clock_may_differ_by_half_the_tolerance(skew: float, ok: bool, detail: str) -> None:
    told = {"server_time": NOW.isoformat()}

    checks = readiness.judge_database(told, now=NOW.timestamp() + skew, tolerance=300)

    assert readiness.Check("clock", ok, detail) in checks


def test_a_database_that_tells_no_time_is_no_fault_of_this_machines_clock() -> None:
    checks = readiness.judge_database({}, now=NOW.timestamp(), tolerance=300)

    assert readiness.Check("clock", False, "the database told no time") in checks


SAME = "on, 1 in use; both routes name the same secret, which is right for Stripe's command line only"


@pytest.mark.parametrize(
    ("secrets", "detail", "is_doubtful"),
    [
        ("", "off: STRIPE_LIFECYCLE_WEBHOOK_SECRET is not set", False),
        ("whsec_x,whsec_y", "on, 2 in use", False),
        (WEBHOOK_SECRET, SAME, True),
    ],
    ids=["off", "on", "shared"],
)
def test_the_lifecycle_route_is_no_precondition_and_a_shared_secret_is_worth_a_look(
    secrets: str, detail: str, is_doubtful: bool
) -> None:
    env = environ("https://project.supabase.co", STRIPE_LIFECYCLE_WEBHOOK_SECRET=secrets)

    checks = readiness.judge_settings(Settings.from_env(env, now=0))

    assert readiness.Check("lifecycle_route", True, detail, is_doubtful) in checks


def ago(**words: float) -> str:
    return (NOW - timedelta(**words)).isoformat()


@pytest.mark.parametrize(
    ("told", "detail", "is_doubtful"),
    [
        ({}, "this database does not tell", False),
        ({"expiry_last_ran_at": None, "overdue_since": None}, "has never run; no order group is due", False),
        (
            {"expiry_last_ran_at": ago(minutes=2, seconds=5), "overdue_since": None},
            "last ran 2 minutes ago; no order group is due",
            False,
        ),
        (
            {"expiry_last_ran_at": ago(seconds=59), "overdue_since": ago(hours=1)},
            "last ran less than a minute ago; an order group has been due for 1 hour",
            False,
        ),
        (
            {"expiry_last_ran_at": ago(days=3), "overdue_since": ago(hours=1, seconds=1)},
            "last ran 3 days ago; an order group has been due for 1 hour: schedule it (docs/operations.md), or run"
            " `relay expire`",
            True,
        ),
        (
            {"expiry_last_ran_at": None, "overdue_since": ago(days=1)},
            "has never run; an order group has been due for 1 day: schedule it (docs/operations.md), or run"
            " `relay expire`",
            True,
        ),
        ({"expiry_last_ran_at": "-infinity", "overdue_since": 7}, "has never run; no order group is due", False),
    ],
)
def test_expiry_is_told_in_words_and_stops_nothing(told: dict[str, Any], detail: str, is_doubtful: bool) -> None:
    checks = readiness.judge_database(told, now=NOW.timestamp(), tolerance=300)

    (check,) = (check for check in checks if check.name == "expiry")
    assert check == readiness.Check("expiry", True, detail, is_doubtful=is_doubtful)


@pytest.mark.parametrize(
    ("named", "detail"),
    [
        ([], "none without a search_path of its own"),
        (None, "none without a search_path of its own"),  # the release before tells none
        (["a on t: f()", "b on t: f()"], "a on t: f(); b on t: f(): alter function"),
        (
            [f"{n} on t: f()" for n in "abcdef"],
            "a on t: f(); b on t: f(); c on t: f(); d on t: f(); e on t: f() …: alter",
        ),
    ],
)
async def test_a_shops_fragile_triggers_are_named_and_stop_nothing(
    relay: Relay, data_api: DataApi, named: list[str] | None, detail: str
) -> None:
    data_api.readiness |= {"fragile_triggers": named}

    assert await failed(relay) == (200, [])

    _, text = await relay.get("/readyz")
    (check,) = (check for check in json.loads(text)["checks"] if check["name"] == "shop_triggers")
    assert check["detail"].startswith(detail)


@pytest.mark.parametrize(
    "behaviour", [Reply(503, {"code": "PGRST000", "message": "x"}), Reply(401, {"message": "Invalid API key"})]
)
async def test_a_database_that_does_not_answer_is_named(relay: Relay, data_api: DataApi, behaviour: Reply) -> None:
    data_api.always = behaviour

    assert await failed(relay) == (503, ["database"])


@pytest.mark.parametrize("body", ["null", "[]", "{}", '"x"'])
async def test_an_answer_of_another_shape_fails_every_check_of_the_database(
    relay: Relay, data_api: DataApi, body: str
) -> None:
    data_api.always = Reply(200, body)

    status, names = await failed(relay)

    assert status == 503
    assert names == ["contract_version", "execute_right", "anon_locked_out", "currencies", "clock"]


async def test_a_probe_does_not_wait_for_a_database_that_hangs(data_api: DataApi) -> None:
    async with serving(environ(data_api.url, RELAY_RPC_TIMEOUT="0.2")) as relay:
        data_api.always = Hang()

        assert await failed(relay) == (503, ["database"])


async def test_many_probes_at_once_are_one_question(relay: Relay, data_api: DataApi) -> None:
    gate = Wait()
    data_api.script = [gate]

    probes = [asyncio.create_task(failed(relay)) for _ in range(20)]
    await data_api.arrived.wait()
    gate.released.set()

    assert await asyncio.gather(*probes) == [(200, [])] * 20
    assert await failed(relay) == (200, [])
    assert [call.function for call in data_api.calls] == ["reconciliation_readiness", "reconcile_order_group_payments"]


async def test_a_relay_that_stops_is_not_ready_whatever_it_knew(relay: Relay) -> None:
    assert await failed(relay) == (200, [])

    relay.app[READINESS].draining = True

    assert await failed(relay) == (503, ["serving"])
    assert (await relay.get("/healthz"))[0] == 200
