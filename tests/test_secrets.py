"""No key, no signature and no buyer's data leaves the relay: not in answers, logs, metrics or readiness."""

from typing import Any

import pytest

from relay.server.webhook import PATH
from testkit import relay_under_test, stripe_events
from testkit.data_api_server import Behaviour, DataApi, Raw, Reply, Reset
from testkit.relay_under_test import Relay
from testkit.stripe_events import completed, delivery

pytestmark = pytest.mark.anyio

NEVER = {
    "the webhook secret": stripe_events.WEBHOOK_SECRET,
    "the Stripe key": stripe_events.STRIPE_KEY,
    "the service key": relay_under_test.SECRET_KEY,
    "the buyer's e-mail address": stripe_events.BUYER_EMAIL,
    "the buyer's name": stripe_events.BUYER_NAME,
    "the buyer's street": stripe_events.BUYER_STREET,
    "a signature": "v1=",
    "the database's words": "Failing row contains",
}
LEAKY = {
    "code": "23505",
    "message": f"duplicate key {relay_under_test.SECRET_KEY}",
    "details": f"Failing row contains ({stripe_events.BUYER_EMAIL})",
    "hint": stripe_events.WEBHOOK_SECRET,
}


@pytest.mark.parametrize(
    "behaviour",
    [
        None,
        Reset(),
        Raw(f"garbage {stripe_events.BUYER_EMAIL}\r\n".encode()),
        Reply(409, LEAKY),
        Reply(500, {**LEAKY, "code": relay_under_test.SECRET_KEY}),
        Reply(502, f"<html>{relay_under_test.SECRET_KEY}</html>", "text/html"),
        Reply(200, {"outcome": stripe_events.BUYER_NAME}),
    ],
)
async def test_nothing_secret_leaves_the_relay(
    relay: Relay, data_api: DataApi, behaviour: Behaviour | None, capfd: pytest.CaptureFixture[str]
) -> None:
    data_api.always = behaviour
    body, headers = delivery(completed())
    seen: list[Any] = []

    for content, head in [(body, headers), (body + b" ", headers), (b"{", headers), (body, {})]:
        answer = await relay.send(content, head)
        seen += [answer.json, dict(answer.headers)]
    seen.append((await relay.deliver(completed(payment_status=stripe_events.BUYER_NAME))).json)
    seen += [await relay.get(path) for path in ("/readyz", "/metrics", "/healthz", PATH)]

    everything = relay.output + repr(seen) + "".join(capfd.readouterr())
    assert [what for what, text in NEVER.items() if text in everything] == []


async def test_a_fault_of_the_relays_own_is_500_and_names_only_its_place(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise KeyError(stripe_events.BUYER_EMAIL)

    monkeypatch.setattr("relay.server.webhook.checkout.judge", stumble)

    answer = await relay.deliver(completed())

    assert answer.verdict == (500, "failed", "unexpected")
    (line,) = relay.lines
    assert line["message"].startswith("failed: KeyError at test_secrets.py:")
    assert stripe_events.BUYER_EMAIL not in relay.output + str(answer.json)
