"""`relay endpoint` and `relay check --stripe`, against a stand-in of Stripe on a real socket."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import pytest
import stripe as sdk

from relay.commands import stripe_endpoints
from relay.core.checkout import RECONCILING_TYPES
from relay.core.lifecycle import TYPES
from testkit.command_line import Ended, run, run_unread
from testkit.data_api_server import DataApi
from testkit.relay_under_test import environ
from testkit.stripe_api_server import StripeServer, answers
from testkit.stripe_endpoints import destination, endpoint
from testkit.stripe_events import STRIPE_KEY

pytestmark = pytest.mark.anyio

HOST = "https://relay.example.com"
URL = f"{HOST}/api/stripe/webhook"
SECOND = f"{HOST}/api/stripe/lifecycle"
EVENTS = ["checkout.session.async_payment_succeeded", "checkout.session.completed"]
LIFECYCLE = [
    "charge.dispute.closed", "charge.dispute.created", "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn", "charge.dispute.updated", "checkout.session.async_payment_failed",
    "refund.created", "refund.failed", "refund.updated",
]  # fmt: skip
VERSION = sdk.api_version


@pytest.fixture
async def stripe(anyio_backend: str) -> AsyncIterator[StripeServer]:
    """An account without endpoints."""
    assert anyio_backend == "asyncio"
    async with StripeServer().listening() as server:
        yield server


async def relay(stripe: StripeServer, *words: str, **changes: str) -> Ended:
    """The command with the two settings that it needs, and no others."""
    return await run(*words, env={"STRIPE_SECRET_KEY": STRIPE_KEY, "STRIPE_API_BASE": stripe.url, **changes})


async def test_create_makes_the_endpoint_that_check_finds_right_and_prints_its_secret_once(
    stripe: StripeServer,
) -> None:
    made = await relay(stripe, "endpoint", "create", HOST, STRIPE_LOG="debug")
    (found,) = stripe.endpoints

    assert made.output == (
        f"endpoint     {found['id']}, test mode\n"
        f"url          {URL}\n"
        "events       checkout.session.async_payment_succeeded, checkout.session.completed\n"
        f"API version  {VERSION}\n"
        "\n"
        "Its secret, which Stripe tells this once. Put it into the relay's settings, and restart the relay:\n"
        "\n"
        f"STRIPE_WEBHOOK_SECRET={stripe.secrets[0]}\n"
    )
    assert made.status == 0
    assert stripe.secrets[0] not in made.errors
    assert STRIPE_KEY not in made.output + made.errors
    assert (found["url"], found["enabled_events"], found["api_version"]) == (URL, EVENTS, VERSION)
    assert await relay(stripe, "endpoint", "check") == (
        0,
        f"ok    endpoint              {found['id']}, {URL}\n"
        "ok    endpoint_status       enabled\n"
        "ok    endpoint_events       sends checkout.session.async_payment_succeeded, checkout.session.completed\n"
        f"ok    endpoint_api_version  {VERSION}\n"
        "ok    endpoint_payloads     snapshot\n",
        "",
    )


async def test_create_as_json_for_the_second_endpoint(stripe: StripeServer) -> None:
    made = await relay(stripe, "endpoint", "create", f"{SECOND}/", "--lifecycle", "--json")

    assert (made.status, made.errors) == (0, "")
    assert json.loads(made.output) == {
        "setting": "STRIPE_LIFECYCLE_WEBHOOK_SECRET",
        "id": stripe.endpoints[0]["id"],
        "url": SECOND,
        "enabled_events": LIFECYCLE,
        "api_version": VERSION,
        "livemode": False,
        "secret": stripe.secrets[0],
    }
    assert (await relay(stripe, "endpoint", "check", HOST, "--lifecycle")).status == 0


def test_an_endpoint_needs_only_types_that_its_route_takes() -> None:
    assert set(stripe_endpoints.PAYMENTS.types) <= RECONCILING_TYPES
    assert set(stripe_endpoints.LIFECYCLE.types) <= TYPES


@pytest.mark.parametrize("asked", [HOST, URL, f"{URL}/"])
@pytest.mark.parametrize("there", [URL, f"{URL}/"])
async def test_a_second_create_makes_nothing_with_or_without_a_slash(
    stripe: StripeServer, there: str, asked: str
) -> None:
    stripe.endpoints.append(endpoint(there, EVENTS))

    ended = await relay(stripe, "endpoint", "create", asked)

    told = f"there is {stripe.endpoints[0]['id']} for {URL} already: `relay endpoint check` compares it"
    assert ended == (1, "", f"relay: {told}\n")
    assert len(stripe.endpoints) == 1
    assert (await relay(stripe, "endpoint", "check", asked)).status == 0


async def test_an_endpoint_at_another_address_is_no_endpoint_of_this_one(stripe: StripeServer) -> None:
    stripe.endpoints += [endpoint(SECOND, LIFECYCLE), endpoint(f"{HOST}/proxied/api/stripe/webhook", EVENTS)]

    assert (await relay(stripe, "endpoint", "create", HOST)).status == 0
    assert [one["url"] for one in stripe.endpoints].count(URL) == 1


async def test_an_answer_that_breaks_off_makes_one_endpoint_and_its_secret_is_told(stripe: StripeServer) -> None:
    stripe.loses_creations = 1

    made = await relay(stripe, "endpoint", "create", HOST, "--json")

    assert made.status == 0
    assert len(stripe.endpoints) == 1
    assert json.loads(made.output)["secret"] == stripe.secrets[0]


async def test_a_secret_that_cannot_be_written_is_said_to_be_lost(stripe: StripeServer) -> None:
    """As on a full disk."""
    full = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "endpoint", "create", HOST),
        env={"PATH": os.environ["PATH"], "STRIPE_SECRET_KEY": STRIPE_KEY, "STRIPE_API_BASE": stripe.url},
        stdout=full,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(full)
    _, errors = await process.communicate()

    assert (process.returncode, errors.decode()) == (
        2,
        f"relay: {stripe.endpoints[0]['id']} is made, and nobody has its secret: delete it in Stripe's dashboard\n"
        "relay: cannot write the output: No space left on device\n",
    )


@pytest.mark.parametrize("form", [[], ["--json"]])
async def test_a_secret_that_nobody_reads_is_said_to_be_lost(stripe: StripeServer, form: list[str]) -> None:
    env = {"STRIPE_SECRET_KEY": STRIPE_KEY, "STRIPE_API_BASE": stripe.url}

    ended = await run_unread("endpoint", "create", HOST, *form, env=env)

    assert ended == (
        2,
        f"relay: {stripe.endpoints[0]['id']} is made, and nobody has its secret: delete it in Stripe's dashboard\n"
        "relay: cannot write the output: Broken pipe\n",
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["http://relay.example.com"], "Stripe does not take it: Invalid URL: URL must be publicly accessible, and "
         "begin with https"),
        ([SECOND], f"{SECOND} is the other route: /api/stripe/webhook is meant"),
        ([URL, "--lifecycle"], f"{URL} is the other route: /api/stripe/lifecycle is meant"),
    ],
)  # fmt: skip
async def test_a_wrong_address_is_status_2_and_makes_nothing(stripe: StripeServer, words: list[str], told: str) -> None:
    assert await relay(stripe, "endpoint", "create", *words) == (2, "", f"relay: {told}\n")
    assert stripe.endpoints == []


async def test_an_account_that_is_full_and_a_key_that_may_not_are_told(stripe: StripeServer) -> None:
    stripe.endpoints += [endpoint(f"https://other.example.com/{number}", ["*"]) for number in range(16)]
    full = await relay(stripe, "endpoint", "create", HOST)
    stripe.keep_failing = answers(403)
    denied = await relay(stripe, "endpoint", "check")
    unknown = await relay(stripe, "endpoint", "check", STRIPE_SECRET_KEY="sk_test_another")
    unset = await relay(stripe, "endpoint", "check", STRIPE_SECRET_KEY="")

    assert full.errors == (
        "relay: Stripe does not take it: You have reached the maximum of 16 test webhook endpoints.\n"
    )
    assert denied.output == (
        "FAIL  stripe  STRIPE_SECRET_KEY may not do this (403): give the restricted key what docs/operations.md says "
        "of it\n"
    )
    assert unknown.output == (
        "FAIL  stripe  Stripe does not know STRIPE_SECRET_KEY (401): was it rolled, or is it another account's?\n"
    )
    assert unset.errors == (
        "relay: The settings are not usable:\n"
        "  STRIPE_SECRET_KEY: is missing\n"
        "They come from the environment, or from a file: --env-file .env. "
        "Of each, .env.example says where it is found.\n"
    )
    assert [one.status for one in (full, denied, unknown, unset)] == [2, 1, 1, 2]


async def test_check_names_each_thing_that_is_not_as_the_relay_needs_it(stripe: StripeServer) -> None:
    first = endpoint(URL, ["checkout.session.completed"], status="disabled", api_version="2019-12-03", created=2)
    second = endpoint(f"{HOST}/proxied/api/stripe/webhook/", ["*"], created=1)
    thin = destination(URL, "thin", ["v1.checkout.session.completed"])
    other = destination("https://elsewhere.example.com", "thin", ["v1.charge.refunded"])
    eventbridge = destination("", "thin", [], type="amazon_eventbridge", webhook_endpoint=None)
    stripe.endpoints += [second, first, endpoint("https://elsewhere.example.com", ["*"])]
    stripe.destinations = [*[other] * 100, eventbridge, destination(URL, "snapshot", EVENTS), thin]
    twice = "; 2 endpoints call this route, so each event comes 2 times"

    assert await relay(stripe, "endpoint", "check") == (
        1,
        f"warn  endpoint              {first['id']}, {URL}{twice}\n"
        f"FAIL  endpoint_status       disabled: enable {first['id']} in Stripe's dashboard, then sweep\n"
        "FAIL  endpoint_events       does not send checkout.session.async_payment_succeeded: add them to the endpoint\n"
        f"warn  endpoint_api_version  2019-12-03; the relay is tested with {VERSION}\n"
        f"warn  endpoint              {second['id']}, {second['url']}{twice}\n"
        "ok    endpoint_status       enabled\n"
        "warn  endpoint_events       sends every event of the account, and most are ignored\n"
        f"warn  endpoint_api_version  the account's own; the relay is tested with {VERSION}\n"
        f"FAIL  endpoint_payloads     {thin['id']} sends thin payloads: make the endpoint anew with snapshot "
        "payloads\n",
        "",
    )


async def test_no_endpoint_at_all_says_how_to_make_one(stripe: StripeServer) -> None:
    thin = destination(URL, "thin", ["v1.checkout.session.completed"])
    none = await relay(stripe, "endpoint", "check")
    elsewhere = await relay(stripe, "endpoint", "check", "https://other.example.com")
    stripe.destinations = [thin]
    only_thin = await relay(stripe, "endpoint", "check", "--json")

    assert none == (
        1,
        "FAIL  endpoint  Stripe has no endpoint for a URL that ends with /api/stripe/webhook: relay endpoint create "
        "URL makes one\n",
        "",
    )
    assert "no endpoint for https://other.example.com/api/stripe/webhook:" in elsewhere.output
    assert [(one["name"], one["ok"]) for one in json.loads(only_thin.output)["checks"]] == [
        ("endpoint", False),
        ("endpoint_payloads", False),
    ]


async def test_thin_destinations_that_the_key_may_not_read_are_no_failure(stripe: StripeServer) -> None:
    stripe.endpoints.append(endpoint(URL, EVENTS, api_version=VERSION))
    stripe.destinations = None

    ended = await relay(stripe, "endpoint", "check")

    assert ended.status == 0
    assert ended.output.splitlines()[-1] == (
        "warn  endpoint_payloads     snapshot; whether a thin destination calls this route too, the key may not ask"
    )


async def test_check_with_stripe_tells_both_and_judges_the_second_endpoint_by_the_settings(
    stripe: StripeServer, data_api: DataApi
) -> None:
    env = environ(data_api.url, STRIPE_API_BASE=stripe.url)
    on = {**env, "STRIPE_LIFECYCLE_WEBHOOK_SECRET": "whsec_" + "x" * 32}
    stripe.endpoints.append(endpoint(URL, EVENTS, api_version=VERSION))

    async def names(env: dict[str, str]) -> tuple[int | None, list[str]]:
        ended = await run("check", "--stripe", "--json", env=env)
        checks = json.loads(ended.output)["checks"]
        assert {check["name"] for check in checks} >= {"database", "clock"}
        return ended.status, [f"{check['name']} {check['ok']}" for check in checks if "endpoint" in check["name"]]

    payments = [f"endpoint{part} True" for part in ("", "_status", "_events", "_api_version", "_payloads")]
    plain, needed = await asyncio.gather(names(env), names(on))
    assert plain == (0, payments)
    assert needed == (1, [*payments, "lifecycle_endpoint False"])

    stripe.endpoints.append(endpoint(SECOND, LIFECYCLE, api_version=VERSION))
    second = [f"lifecycle_{name}" for name in payments]
    off, needed = await asyncio.gather(names(env), names(on))
    assert off == (1, [*payments, "lifecycle_endpoint False", *second[1:]])
    assert needed == (0, [*payments, *second])


async def test_a_stripe_that_is_down_fails_one_check_and_hides_no_other(data_api: DataApi) -> None:
    ended = await run("check", "--stripe", env=environ(data_api.url, STRIPE_API_BASE="http://127.0.0.1:9"))

    assert ended.status == 1
    assert "ok    database          reached\n" in ended.output
    assert ended.output.endswith(
        "FAIL  stripe            Stripe cannot be reached: look at the network, and at STRIPE_API_BASE where it is "
        "set\n"
    )
