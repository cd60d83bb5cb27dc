"""`relay serve` as a process: it starts only with usable settings, and stops without losing a delivery."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.data_api.client import FEW_CALLS
from relay.server.webhook import PATH
from testkit.command_line import run, serve
from testkit.data_api_server import DataApi, Wait
from testkit.polling import until
from testkit.relay_under_test import environ
from testkit.stripe_events import completed, delivery
from testkit.wire import connected

pytestmark = pytest.mark.anyio


@pytest.fixture
def data_api(data_api: DataApi) -> DataApi:
    """The relay's own asks are none of the calls that these tests wait for."""
    data_api.is_watched = True
    return data_api


async def post(url: str) -> tuple[int, dict[str, Any]]:
    body, headers = delivery(completed())
    async with aiohttp.ClientSession() as http, http.post(url + PATH, data=body, headers=headers) as response:
        return response.status, await response.json()


async def get_status(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_makes_it_not_ready_finishes_the_delivery_in_hand_and_exits_with_0(
    data_api: DataApi, number: signal.Signals
) -> None:
    async with serve(env=environ(data_api.url)) as relay:
        gate = Wait()
        data_api.script = [gate]
        in_hand = asyncio.create_task(post(relay.url))
        await data_api.arrived.wait()

        relay.process.send_signal(number)
        assert (await relay.line())["message"].startswith("Stopping")
        assert await get_status(relay.url + "/readyz") == 503
        assert await get_status(relay.url + "/healthz") == 200
        gate.released.set()

        status, answer = await in_hand
        assert (status, answer["outcome"]) == (200, "applied")
        assert await relay.process.wait() == 0
        assert [(await relay.line())["message"] for _ in range(2)] == ["applied", "Stopped"]


async def test_a_stop_finishes_what_waits_for_a_call_and_what_shares_one(data_api: DataApi) -> None:
    async with serve(env=environ(data_api.url)) as relay:
        gate = Wait()
        data_api.always = gate
        in_hand = [asyncio.create_task(post(relay.url)) for _ in range(FEW_CALLS + 8)]
        await until(lambda: len(data_api.calls) > FEW_CALLS)

        relay.process.send_signal(signal.SIGTERM)
        assert (await relay.line())["message"].startswith("Stopping")
        gate.released.set()

        answers = [await one for one in in_hand]
        assert [(status, answer["outcome"]) for status, answer in answers] == [(200, "applied")] * len(in_hand)
        assert await relay.process.wait() == 0
    sent = [each.parameters["p_stripe_event_id"] for call in data_api.calls for each in call.alone]
    assert sorted(sent) == sorted(answer["event_id"] for _, answer in answers)
    assert len(data_api.calls) < len(sent)


async def test_an_idle_relay_stops_at_once(data_api: DataApi) -> None:
    async with serve(env=environ(data_api.url)) as relay:
        assert await get_status(relay.url + "/healthz") == 200

        relay.process.send_signal(signal.SIGTERM)

        assert await relay.process.wait() == 0


async def test_open_idle_and_half_sent_connections_do_not_hold_the_end_up(data_api: DataApi) -> None:
    """Since Python 3.12.1 a server's wait_closed() waits for them; the relay's end must not."""
    async with serve(env=environ(data_api.url)) as relay:
        port = int(relay.url.rsplit(":", 1)[1])
        async with connected(port) as silent, connected(port) as idle, connected(port) as half:
            idle.send(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
            assert await idle.answer() is not None
            half.send(b"POST /api/stripe/webhook HTTP/1.1\r\nHost: re")
            await half.flush()

            relay.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(8):
                assert await relay.process.wait() == 0
            assert [await wire.answer() for wire in (silent, idle, half)] == [None] * 3


async def test_a_half_sent_body_has_its_time_and_then_the_relay_ends(data_api: DataApi) -> None:
    async with serve(env=environ(data_api.url)) as relay, connected(int(relay.url.rsplit(":", 1)[1])) as half:
        half.send(b"POST /api/stripe/webhook HTTP/1.1\r\nHost: relay\r\nContent-Length: 9\r\n\r\n{")
        async with connected(int(relay.url.rsplit(":", 1)[1])) as other:
            other.send(b"GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n")
            assert await other.answer() is not None

        relay.process.send_signal(signal.SIGTERM)
        answer = await half.answer()
        assert answer is not None
        assert answer.status == 408
        async with asyncio.timeout(20):
            assert await relay.process.wait() == 0


async def test_a_second_signal_ends_at_once(data_api: DataApi) -> None:
    async with serve(env=environ(data_api.url)) as relay:
        data_api.script = [Wait()]
        in_hand = asyncio.create_task(post(relay.url))
        await data_api.arrived.wait()
        relay.process.send_signal(signal.SIGTERM)
        await relay.line()

        relay.process.send_signal(signal.SIGTERM)

        assert await relay.process.wait() == -signal.SIGTERM
        with pytest.raises(aiohttp.ClientError):
            await in_hand


@pytest.mark.parametrize("command", ["serve", "check"])
async def test_unusable_settings_stop_the_start_with_one_message_and_status_2(command: str) -> None:
    status, output, errors = await run(command, env={"STRIPE_SECRET_KEY": "pk_live_x", "STRIPE_WEBHOOK_TOLERANCE": "0"})

    assert (status, output) == (2, "")
    for name in (
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "SUPABASE_URL",
        "SUPABASE_SERVICE_ROLE_KEY",
        "STRIPE_WEBHOOK_TOLERANCE",
    ):
        assert errors.count(f"  {name}: ") == 1
    assert "pk_live_x" not in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["serve", "check"])
async def test_certificates_that_are_not_there_stop_the_start(data_api: DataApi, tmp_path: Path, command: str) -> None:
    for path, words in ((tmp_path / "none.pem", "No such file"), (Path(__file__), "")):
        status, output, errors = await run(command, env=environ(data_api.url, SSL_CERT_FILE=str(path)))

        assert (status, output) == (2, "")
        assert f"  SSL_CERT_FILE: cannot be loaded: {words}" in errors
        assert "Traceback" not in errors


async def test_one_secret_for_both_routes_is_named_at_the_start(data_api: DataApi) -> None:
    env = environ(data_api.url)
    async with serve(env=env | {"STRIPE_LIFECYCLE_WEBHOOK_SECRET": env["STRIPE_WEBHOOK_SECRET"]}) as relay:
        (line,) = relay.lines

    assert (line["level"], line["message"]) == (
        "warning",
        "STRIPE_WEBHOOK_SECRET and STRIPE_LIFECYCLE_WEBHOOK_SECRET name the same secret, which is right for Stripe's"
        " command line only",
    )


async def test_a_proxy_that_is_not_used_is_named_at_the_start(data_api: DataApi) -> None:
    """The first line names it, so that `serve` takes it for the address."""
    async with serve(env=environ(data_api.url, HTTP_PROXY="http://127.0.0.1:1")) as relay:
        (line,) = relay.lines
        address = (await relay.line())["message"].removeprefix("Listening on ")
        assert (await post(address))[0] == 200

    assert line["level"] == "warning"
    assert line["message"] == "HTTP_PROXY is set and not used: the relay connects to SUPABASE_URL directly"


async def test_an_address_in_use_is_said_in_words_and_status_1(data_api: DataApi) -> None:
    async with serve(env=environ(data_api.url)) as relay:
        status, _, errors = await run("serve", env=environ(data_api.url, RELAY_PORT=relay.url.rsplit(":", 1)[1]))

    assert status == 1
    assert errors.startswith(f"relay: cannot listen on {relay.url.removeprefix('http://')}: EADDRINUSE: ")
    assert "Traceback" not in errors


async def test_check_tells_ready_from_not_ready_by_its_status(data_api: DataApi) -> None:
    status, output, errors = await run("check", "--json", env=environ(data_api.url))
    assert (status, errors) == (0, "")
    assert json.loads(output)["ready"] is True

    data_api.readiness["can_execute"] = False
    status, output, _ = await run("check", env=environ(data_api.url))
    assert status == 1
    assert [line.split()[1] for line in output.splitlines() if line.startswith("FAIL")] == ["execute_right"]


async def test_help_shows_examples_and_exit_statuses_of_each_command() -> None:
    status, output, _ = await run("--help", env={})
    assert status == 0
    assert "examples:" in output

    for command in ("serve", "check"):
        status, output, _ = await run(command, "--help", env={})
        assert status == 0
        assert "examples:" in output
        assert "exit status: 0 " in output


async def test_an_unknown_command_is_status_2() -> None:
    status, _, errors = await run("fly", env={})

    assert status == 2
    assert "fly" in errors
