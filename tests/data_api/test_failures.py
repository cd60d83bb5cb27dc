"""No verdict is a 500 with one reason, one log line and one count; nothing else is ever made of a failure.

The bodies are what PostgREST 12, Kong and Cloudflare really answer, trimmed.
"""

import asyncio
import errno
import socket
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from relay.data_api import client
from relay.data_api.failures import from_exception
from testkit.data_api_server import Behaviour, DataApi, Hang, Raw, Reply, Reset
from testkit.relay_under_test import Relay, environ, serving
from testkit.stripe_events import completed

pytestmark = pytest.mark.anyio


def error(status: int, code: object, message: str = "secret-looking detail") -> Reply:
    """An error as PostgREST words it."""
    return Reply(status, {"code": code, "details": None, "hint": None, "message": message})


def page(status: int) -> Reply:
    """An error as a proxy words it."""
    return Reply(status, "<html><body><h1>Something went wrong</h1></body></html>", "text/html")


FAILURES: dict[str, tuple[Behaviour, str]] = {
    # SQLSTATE in the body decides, whatever PostgREST makes of it as a status
    "statement timeout": (error(500, "57014"), "timeout"),
    "lock timeout": (error(500, "55P03"), "lock_timeout"),
    "no right": (error(403, "42501"), "unauthorized"),
    "no right as anon": (error(401, "42501"), "unauthorized"),
    "no such function inside": (error(404, "42883"), "contract_violation"),
    "connection failure": (error(503, "08006"), "database_unavailable"),
    "too many connections": (error(503, "53300"), "database_unavailable"),
    "admin shutdown": (error(503, "57P01"), "database_unavailable"),
    "starting up": (error(500, "57P03"), "database_unavailable"),
    "read-only": (error(405, "25006"), "database_unavailable"),
    "a replica": (error(400, "0A000"), "database_unavailable"),
    "unique violation": (error(409, "23505"), "unexpected"),
    "raised": (error(400, "P0001"), "unexpected"),
    "bad uuid": (error(400, "22P02"), "unexpected"),
    "bad argument": (error(400, "22023"), "unexpected"),
    "internal error": (error(500, "XX000"), "unexpected"),
    "serialization failure": (error(500, "40001"), "unexpected"),
    # PostgREST's own codes
    "database down": (error(503, "PGRST000"), "database_unavailable"),
    "connection lost": (error(503, "PGRST001"), "database_unavailable"),
    "no schema cache": (error(503, "PGRST002"), "database_unavailable"),
    "pool exhausted": (error(504, "PGRST003"), "database_unavailable"),
    "schema not exposed": (error(406, "PGRST106"), "contract_violation"),
    "function not found": (error(404, "PGRST202"), "contract_violation"),
    "function ambiguous": (error(300, "PGRST203"), "contract_violation"),
    "no JWT secret": (error(500, "PGRST300"), "unauthorized"),
    "bad JWT": (error(401, "PGRST301"), "unauthorized"),
    "anon disabled": (error(401, "PGRST302"), "unauthorized"),
    "bad claims": (error(401, "PGRST303"), "unauthorized"),
    "bad request": (error(400, "PGRST102"), "unexpected"),
    # proxies in between, whose JSON has no code and whose pages are HTML
    "Kong knows no route": (Reply(404, {"message": "no Route matched with those values"}), "contract_violation"),
    "Kong knows no key": (Reply(401, {"message": "Invalid API key"}), "unauthorized"),
    "Kong's upstream is gone": (Reply(502, {"message": "An invalid response was received"}), "database_unavailable"),
    "an empty object": (Reply(404, {}), "contract_violation"),
    "an empty object as 503": (Reply(503, {}), "database_unavailable"),
    "a numeric code": (Reply(500, {"code": 500, "message": "x"}), "database_unavailable"),
    "a code that is no text": (Reply(503, {"code": ["57014"]}), "database_unavailable"),
    "bad gateway": (page(502), "database_unavailable"),
    "unavailable": (page(503), "database_unavailable"),
    "gateway timeout": (page(504), "database_unavailable"),
    "Cloudflare 522": (page(522), "database_unavailable"),
    "too many requests": (page(429), "database_unavailable"),
    "payment required": (page(402), "database_unavailable"),
    "payment required, as JSON": (Reply(402, {"message": "Services restricted"}), "database_unavailable"),
    "unauthorized page": (page(401), "unauthorized"),
    "forbidden page": (page(403), "unauthorized"),
    "not found page": (page(404), "contract_violation"),
    "bad request page": (page(400), "unexpected"),
    # success that is none
    "null": (Reply(200, "null"), "contract_violation"),
    "empty": (Reply(200, ""), "contract_violation"),
    "no content": (Reply(204), "contract_violation"),
    "a list": (Reply(200, []), "contract_violation"),
    "text": (Reply(200, '"applied"'), "contract_violation"),
    "HTML": (page(200), "contract_violation"),
    "an empty verdict": (Reply(200, {}), "contract_violation"),
    "not UTF-8": (
        Raw(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n"\xff"'),
        "contract_violation",
    ),
    "nested too deep": (Reply(200, "[" * 100_000), "contract_violation"),
    "an integer of too many digits": (Reply(200, "1" * 5000), "contract_violation"),
    "a proxy's odd charset": (Reply(502, "<html>", "text/html; charset=base64"), "database_unavailable"),
    "request timeout": (page(408), "database_unavailable"),
    "PostgREST's code behind a proxy's page": (
        Reply(500, "<html>", "text/html", headers=(("Proxy-Status", "PostgREST; error=55P03"),)),
        "lock_timeout",
    ),
    "compressed": (Reply(200, "{}", headers=(("Content-Encoding", "br"),)), "contract_violation"),
    "broken gzip": (Reply(200, "not gzip", headers=(("Content-Encoding", "gzip"),)), "contract_violation"),
    # the wire
    "garbage": (Raw(b"220 smtp ready\r\n"), "contract_violation"),
}


@pytest.mark.parametrize(("behaviour", "reason"), FAILURES.values(), ids=FAILURES)
async def test_every_answer_without_a_verdict_is_500_with_one_reason(
    relay: Relay, data_api: DataApi, behaviour: Behaviour, reason: str
) -> None:
    data_api.always = behaviour

    answer = await relay.deliver(completed())

    assert answer.verdict == (500, "failed", reason)
    assert len(data_api.calls) == 1
    (line,) = relay.lines
    assert (line["level"], line["reason"], line["status"]) == ("error", reason, 500)
    assert "secret-looking" not in relay.output + str(answer.json)
    _, metrics = await relay.get("/metrics")
    assert f'relay_deliveries_total{{outcome="failed",reason="{reason}"}} 1.0' in metrics


WRONG_VERDICTS: dict[str, dict[str, Any]] = {
    "unknown outcome": {"outcome": "fine"},
    "no outcome": {"outcome": None},
    "an outcome that the database cannot give": {"outcome": "ignored"},
    "unmatched though a group was named": {"outcome": "unmatched", "reason": "missing_reference"},
    "rejected without a reason": {"outcome": "rejected"},
    "rejected for an unknown reason": {"outcome": "rejected", "reason": "because"},
    "rejected for another row's reason": {"outcome": "rejected", "reason": "timeout"},
    "applied with a reason": {"outcome": "applied", "reason": "amount_mismatch"},
    "another group": {"outcome": "applied", "order_group_id": "00000000-0000-0000-0000-000000000000"},
    "no group": {"outcome": "applied", "order_group_id": None},
    "another event": {"outcome": "applied", "stripe_event_id": "evt_other"},
    "a count that is text": {"outcome": "applied", "orders_paid": "2"},
    "a count that is a boolean": {"outcome": "applied", "ledger_entries": True},
    "no count": {"outcome": "applied", "ledger_entries": None},
}


@pytest.mark.parametrize("verdict", WRONG_VERDICTS.values(), ids=WRONG_VERDICTS)
async def test_a_verdict_that_breaks_the_contract_is_no_verdict(
    relay: Relay, data_api: DataApi, verdict: dict[str, Any]
) -> None:
    data_api.verdict = {"reason": None} | verdict

    answer = await relay.deliver(completed())

    assert answer.verdict == (500, "failed", "contract_violation")


async def test_a_verdict_may_carry_keys_of_a_newer_database(relay: Relay, data_api: DataApi) -> None:
    data_api.verdict = {"outcome": "applied", "reason": None, "explanation": "new"}

    assert (await relay.deliver(completed())).verdict == (200, "applied", None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_contract_violation_and_the_key_does_not_follow_it(
    relay: Relay, data_api: DataApi, status: int
) -> None:
    async with DataApi().listening() as elsewhere:
        data_api.always = Reply(status, "", headers=(("Location", elsewhere.url + "/rest/v1/rpc/x"),))

        answer = await relay.deliver(completed())

        assert answer.verdict == (500, "failed", "contract_violation")
        assert elsewhere.calls == []


CUT = Raw(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"outcome": "app')


@pytest.mark.parametrize("behaviour", [Reset(), Raw(b""), CUT], ids=["reset", "closed", "cut in the body"])
async def test_a_lost_connection_is_tried_once_more_because_the_replay_makes_it_safe(
    relay: Relay, data_api: DataApi, behaviour: Behaviour
) -> None:
    data_api.script = [behaviour]

    answer = await relay.deliver(completed())

    assert answer.verdict == (200, "applied", None)
    assert len(data_api.calls) == 2
    assert data_api.calls[0].parameters == data_api.calls[1].parameters


@pytest.mark.parametrize("behaviour", [Reset(), Raw(b""), CUT], ids=["reset", "closed", "cut in the body"])
async def test_a_connection_that_is_lost_twice_is_database_unavailable(
    relay: Relay, data_api: DataApi, behaviour: Behaviour
) -> None:
    data_api.always = behaviour

    answer = await relay.deliver(completed())

    assert answer.verdict == (500, "failed", "database_unavailable")
    assert len(data_api.calls) == 2


async def test_a_deadlock_is_tried_once_more_because_it_rolled_everything_back(relay: Relay, data_api: DataApi) -> None:
    data_api.script = [error(500, "40P01")]
    assert (await relay.deliver(completed())).verdict == (200, "applied", None)

    data_api.always = error(500, "40P01")
    assert (await relay.deliver(completed())).verdict == (500, "failed", "deadlock")
    assert len(data_api.calls) == 4


@pytest.mark.parametrize(
    ("behind", "name"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), ", ECONNREFUSED"),
        (OSError(errno.EHOSTUNREACH, "x"), ", EHOSTUNREACH"),
        # Resolvers and TLS have numbers of their own, which would pass for others.
        (socket.gaierror(errno.ENOEXEC, "x"), ""),
        (ssl.SSLError(errno.EPERM, "x"), ""),
        (OSError("x"), ""),
    ],
    ids=lambda value: repr(value),
)
async def test_the_log_names_the_operating_systems_error_and_no_other(behind: OSError, name: str) -> None:
    key = ConnectionKey("host", 443, True, True, None, None, None)
    torn = aiohttp.ClientOSError(*behind.args)
    torn.__cause__ = behind

    assert from_exception(aiohttp.ClientConnectorError(key, behind)).detail == "ClientConnectorError" + name
    assert from_exception(torn).detail == "ClientOSError" + name
    assert from_exception(behind).detail == type(behind).__name__ + name


async def test_a_refused_connection_is_database_unavailable() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with serving(environ(f"http://127.0.0.1:{nobody.getsockname()[1]}")) as relay:
            assert (await relay.deliver(completed())).verdict == (500, "failed", "database_unavailable")
            assert relay.lines[-1]["message"] == "failed: ClientConnectorError, ECONNREFUSED"


async def test_a_name_that_does_not_resolve_is_database_unavailable() -> None:
    async with serving(environ("https://no-such-project.invalid")) as relay:
        assert (await relay.deliver(completed())).verdict == (500, "failed", "database_unavailable")


async def test_a_server_that_speaks_no_tls_is_database_unavailable(data_api: DataApi) -> None:
    async with serving(environ(data_api.url.replace("http://", "https://"))) as relay:
        assert (await relay.deliver(completed())).verdict == (500, "failed", "database_unavailable")


@pytest.mark.parametrize(
    "behaviour",
    [Hang(), Hang(b"HTTP/1.1 200 OK\r\n"), Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")],
    ids=["no answer", "half a head", "half a body"],
)
async def test_no_answer_within_the_rpc_timeout_is_a_timeout_and_not_tried_again(
    data_api: DataApi, behaviour: Behaviour
) -> None:
    async with serving(environ(data_api.url, RELAY_RPC_TIMEOUT="0.2")) as relay:
        data_api.always = behaviour

        answer = await relay.deliver(completed())

        assert answer.verdict == (500, "failed", "timeout")
        assert len(data_api.calls) == 1


async def test_the_relay_recovers_by_itself_when_the_data_api_does(data_api: DataApi) -> None:
    async with serving(environ(data_api.url, RELAY_RPC_TIMEOUT="1")) as relay:
        data_api.script = [Hang(), error(503, "PGRST000"), Reset(), Reset()]
        for _ in range(3):
            assert (await relay.deliver(completed())).status == 500

        assert (await relay.deliver(completed())).verdict == (200, "applied", None)


async def test_a_dead_data_api_piles_up_no_more_than_the_queue(
    data_api: DataApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_CALLS", 2)
    monkeypatch.setattr(client, "MAX_WAITING", 3)
    async with serving(environ(data_api.url, RELAY_RPC_TIMEOUT="1")) as relay:
        data_api.always = Hang()

        answers = await asyncio.gather(*(relay.deliver(completed()) for _ in range(12)))

        assert len(data_api.calls) == 2
        reasons = sorted(str(answer.json["reason"]) for answer in answers)
        assert reasons == ["database_unavailable"] * 10 + ["timeout"] * 2
        notes = [line["message"] for line in relay.lines]
        assert sum("too many deliveries wait" in note for note in notes) == 7
        assert sum("no free call" in note for note in notes) == 3

        data_api.always = None
        assert (await relay.deliver(completed())).verdict == (200, "applied", None)
