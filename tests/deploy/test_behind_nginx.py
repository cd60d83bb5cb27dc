"""The shipped nginx configuration in front of two relays: nothing is changed, nothing is lost."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from local_stack.postgres import free_port
from local_stack.stack import Stack
from testkit.invariants import broken_invariants
from testkit.relay_process import RelayProcess
from testkit.shop import Shop, paid, shop_on
from testkit.stripe_events import LIFECYCLE_SECRET, encode, sign, unrelated_event
from tests.deploy.nginx import CONFIGURATION, Nginx

WEBHOOK, LIFECYCLE = "/api/stripe/webhook", "/api/stripe/lifecycle"
KEYS = {"received", "outcome", "reason", "event_id", "order_group_id"}
MEBIBYTE = 1024 * 1024
SENDERS = 8
GROUPS = 120


@pytest.fixture(scope="module")
def relays(local_stack_only: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RelayProcess]]:
    logs = tmp_path_factory.mktemp("relays")
    with ExitStack() as exits:
        running = []
        for number in (1, 2):
            own = {"STRIPE_LIFECYCLE_WEBHOOK_SECRET": LIFECYCLE_SECRET}
            relay = RelayProcess(env={**local_stack_only.env(), **own}, log=logs / f"{number}.log")
            exits.callback(relay.stop)
            relay.start()
            running.append(relay)
        yield running


@contextmanager
def nginx(ports: list[int], **changes: str) -> Iterator[httpx.Client]:
    """A client of it. Its home is one that nginx' own unprivileged workers may enter."""
    with tempfile.TemporaryDirectory(prefix="deploy-nginx-") as home:
        Path(home).chmod(0o755)
        front = Nginx(Path(home), ports, changes=changes)
        front.start()
        try:
            # No keep-alive: each delivery of Stripe's may come over a connection of its own.
            limits = httpx.Limits(max_keepalive_connections=0)
            with httpx.Client(base_url=front.url, verify=front.trust(), trust_env=False, limits=limits) as client:
                yield client
        finally:
            front.stop()


@pytest.fixture(scope="module")
def front(relays: list[RelayProcess]) -> Iterator[httpx.Client]:
    with nginx([relay.port for relay in relays]) as client:
        yield client


@pytest.fixture(scope="module")
def shop(local_stack_only: Stack) -> Iterator[Shop]:
    with shop_on(local_stack_only) as shop:
        yield shop


def post(front: httpx.Client, body: bytes, headers: Any) -> tuple[int, dict[str, Any]]:
    """Status and answer. Every answer of the route has the five keys, whoever gave it."""
    response = front.post(WEBHOOK, content=body, headers=headers, timeout=30)
    answer: dict[str, Any] = response.json()
    assert answer.keys() == KEYS
    assert response.headers["content-type"].partition(";")[0] == "application/json"
    return response.status_code, answer


def signed(body: bytes, stack: Stack) -> dict[str, str]:
    return {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": sign(body, stack.stripe_webhook_secret),
    }


def test_body_and_signature_arrive_as_they_were_sent(front: httpx.Client, shop: Shop, local_stack_only: Stack) -> None:
    # Blanks, line ends and letters that a proxy which parses and writes again would not keep.
    body = (
        encode(paid(shop.order_group())).replace(b'"livemode"', '\r\n\t  "größe": "\\u00e9 é",\n"livemode"'.encode())
        + b"\n\n"
    )

    status, answer = post(front, body, signed(body, local_stack_only))

    assert (status, answer["outcome"]) == (200, "applied")


def test_chunked_body_arrives_whole(front: httpx.Client, shop: Shop, local_stack_only: Stack) -> None:
    body = encode(paid(shop.order_group()))
    pieces = (body[start : start + 700] for start in range(0, len(body), 700))

    response = front.post(WEBHOOK, content=pieces, headers=signed(body, local_stack_only))

    assert (response.status_code, response.json()["outcome"]) == (200, "applied")


def padded(size: int) -> bytes:
    """An event of exactly that many bytes."""
    event = unrelated_event()
    event["data"]["object"]["description"] = ""
    short = encode(event)
    event["data"]["object"]["description"] = "x" * (size - len(short))
    return encode(event)


@pytest.mark.parametrize(
    ("size", "verdict"),
    [
        (MEBIBYTE, (200, "ignored", "event_type")),
        (MEBIBYTE + 1, (413, "refused", "body_too_large")),  # in the relay's own words
        (3 * MEBIBYTE, (413, "refused", "body_too_large")),  # nginx'
    ],
)
def test_size_of_a_body_is_judged_as_the_relay_does(
    front: httpx.Client, local_stack_only: Stack, size: int, verdict: tuple[int, str, str]
) -> None:
    body = padded(size)
    assert len(body) == size

    status, answer = post(front, body, signed(body, local_stack_only))

    assert (status, answer["outcome"], answer["reason"]) == verdict


@pytest.mark.parametrize(
    ("extra", "verdict"),
    [
        ([("Content-Encoding", "gzip")], (415, "unsupported_content_encoding")),
        ([("Stripe-Signature", "t=1,v1=00")], (400, "invalid_signature")),
    ],
    ids=["compressed body", "second signature"],
)
def test_headers_that_the_relay_refuses_reach_it(
    front: httpx.Client, local_stack_only: Stack, extra: list[tuple[str, str]], verdict: tuple[int, str]
) -> None:
    body = padded(1000)

    status, answer = post(front, body, [*signed(body, local_stack_only).items(), *extra])

    assert (status, answer["reason"]) == verdict


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/readyz",
        "/healthz",
        "/api/stripe",
        "/api/stripe/webhook2",
        "/api/stripe/lifecycle/x",
        "/x/api/stripe/webhook",
    ],
)
def test_nothing_but_the_two_routes_is_for_the_outside(front: httpx.Client, path: str) -> None:
    answer = front.get(path)

    assert answer.status_code == 404
    assert answer.headers["Server"].startswith("nginx")


@pytest.mark.parametrize("slash", ["", "/"])
def test_each_route_is_reached_with_its_own_secret(front: httpx.Client, local_stack_only: Stack, slash: str) -> None:
    body = encode(unrelated_event())

    for path, secret in ((WEBHOOK, local_stack_only.stripe_webhook_secret), (LIFECYCLE, LIFECYCLE_SECRET)):
        answer = front.post(path + slash, content=body, headers={"Stripe-Signature": sign(body, secret)})
        assert (answer.status_code, answer.json()["reason"]) == (200, "event_type")


def test_flood_from_one_address_is_answered_429_and_the_rest_arrives(relays: list[RelayProcess]) -> None:
    # One more a minute: the burst alone decides, whatever the machine's speed.
    with nginx([relay.port for relay in relays], **{"rate=50r/s": "rate=1r/m"}) as front:
        answers = [post(front, b"{}", {}) for _ in range(205)]

    assert [status for status, _ in answers[:201]] == [400] * 201
    assert {(status, answer["reason"]) for status, answer in answers[201:]} == {(429, "too_many_requests")}


def test_without_any_relay_the_answer_makes_stripe_come_again() -> None:
    with nginx([free_port(), free_port()]) as front:
        status, answer = post(front, b"{}", {})

    assert (status, answer["received"], answer["outcome"]) == (502, False, "failed")


class Deliveries:
    """One payment of each group, by several senders at once, and how far they are."""

    def __init__(self, front: httpx.Client, stack: Stack, bodies: list[bytes]) -> None:
        self._front, self._stack = front, stack
        self._bodies = bodies
        self._answered = threading.Semaphore(0)
        self.answers: list[tuple[int, str]] = []

    def _deliver(self, body: bytes) -> None:
        try:
            status, answer = post(self._front, body, signed(body, self._stack))
            self.answers.append((status, answer["outcome"]))
        finally:
            self._answered.release()

    def wait_for(self, count: int) -> None:
        """Until that many more have been answered."""
        for _ in range(count):
            assert self._answered.acquire(timeout=60)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with ThreadPoolExecutor(SENDERS) as senders:
            pending = [senders.submit(self._deliver, body) for body in self._bodies]
            yield
            for delivery in pending:
                delivery.result()


def test_relays_that_are_killed_one_after_the_other_lose_nothing(
    front: httpx.Client, relays: list[RelayProcess], shop: Shop, local_stack_only: Stack
) -> None:
    groups = [shop.order_group() for _ in range(GROUPS)]
    deliveries = Deliveries(front, local_stack_only, [encode(paid(group)) for group in groups])
    first, second = relays

    with deliveries.under_way():
        deliveries.wait_for(GROUPS // 6)
        first.kill()
        deliveries.wait_for(GROUPS // 6)
        first.start()
        deliveries.wait_for(GROUPS // 6)
        second.kill()
        deliveries.wait_for(GROUPS // 6)
        second.start()

    # Each was answered at once: what the killed relay had in hand, nginx took to the other one. `replayed` is such a
    # delivery whose payment had been committed before the kill.
    assert {status for status, _ in deliveries.answers} == {200}
    assert {outcome for _, outcome in deliveries.answers} <= {"applied", "replayed"}
    with psycopg.connect(local_stack_only.dsn(), row_factory=dict_row) as connection:
        ids = [group.id for group in groups]
        unpaid = connection.execute("select id from public.order_groups where id = any(%s) and status <> 'paid'", [ids])
        assert unpaid.fetchall() == []
        assert broken_invariants(connection) == []


def test_rolling_restart_in_order_loses_nothing(
    front: httpx.Client, relays: list[RelayProcess], shop: Shop, local_stack_only: Stack
) -> None:
    groups = [shop.order_group() for _ in range(GROUPS)]
    deliveries = Deliveries(front, local_stack_only, [encode(paid(group)) for group in groups])

    with deliveries.under_way():
        for relay in relays:
            deliveries.wait_for(GROUPS // 6)
            relay.stop()
            deliveries.wait_for(GROUPS // 6)
            relay.start()

    assert deliveries.answers == [(200, "applied")] * GROUPS


def test_log_of_nginx_names_no_buyer_and_no_signature() -> None:
    text = CONFIGURATION.read_text()

    # Nothing of a request but what nginx' own access log holds: no log_format, no $request_body, no $http_ header.
    for word in ("log_format", "$request_body", "$http_", "proxy_cache"):
        assert word not in text
