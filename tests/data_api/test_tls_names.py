"""The keys go to the host that was written, once it has shown a certificate for that very name."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import stripe

from relay.commands.stripe_api import StripeApi, StripeUnavailable
from relay.config import Settings
from testkit.certificates import Authority
from testkit.data_api_server import DataApi, Reply
from testkit.relay_under_test import SECRET_KEY, environ, serving
from testkit.stripe_events import STRIPE_KEY, completed

pytestmark = pytest.mark.anyio

# By the IDNA of 2003 it is strasse.example, by today's it is a name of its own.
WRITTEN, MISREAD = "xn--strae-oqa.example", "strasse.example"
# Name and days of the server's certificate, and whether the host WRITTEN may show it.
CERTIFICATES = {
    "its own": (WRITTEN, 1, True),
    "misread": (MISREAD, 1, False),
    "another host's": ("other.example", 1, False),
    "a part of it": ("example", 1, False),
    "expired": (WRITTEN, -1, False),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def presenting(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def asked(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names that were resolved, each of them to this machine; the authority is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    monkeypatch.setattr(stripe, "ca_bundle_path", str(authority.path))
    names: set[str] = set()

    async def resolve(_: object, host: str, port: int, **_options: object) -> list[Any]:
        names.add(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    return names


@pytest.mark.parametrize(("name", "days", "good"), CERTIFICATES.values(), ids=CERTIFICATES)
async def test_the_service_key_is_sent_only_to_who_shows_the_name_as_it_was_written(
    authority: Authority, asked: set[str], name: str, days: int, good: bool
) -> None:
    async with DataApi().listening(tls=presenting(authority.issue(name, days=days))) as api:
        url = api.url.replace("127.0.0.1", WRITTEN)
        async with serving(environ(url)) as relay:
            verdict = (await relay.deliver(completed())).verdict

    assert verdict == ((200, "applied", None) if good else (500, "failed", "database_unavailable"))
    assert [call.headers["apikey"] for call in api.calls] == [SECRET_KEY] * good
    assert [call.headers["host"].partition(":")[0] for call in api.calls] == [WRITTEN] * good
    assert WRITTEN in asked
    assert MISREAD not in asked


@pytest.mark.parametrize(("name", "days", "good"), CERTIFICATES.values(), ids=CERTIFICATES)
async def test_the_stripe_key_is_sent_only_to_who_shows_the_name_as_it_was_written(
    authority: Authority, asked: set[str], monkeypatch: pytest.MonkeyPatch, name: str, days: int, good: bool
) -> None:
    monkeypatch.setattr("relay.commands.stripe_api.SDK_RETRIES", 0)
    async with DataApi().listening(tls=presenting(authority.issue(name, days=days))) as api:
        api.always = Reply(body={"object": "list", "data": [], "has_more": False, "url": "/v1/events"})
        url = api.url.replace("127.0.0.1", WRITTEN)
        async with StripeApi.connect(Settings.from_env(environ(url, STRIPE_API_BASE=url), now=0)) as stripe_api:
            try:
                assert [page async for page in stripe_api.events(0)] == []
                reached = True
            except StripeUnavailable:
                reached = False

    assert reached is good
    assert [call.headers["authorization"] for call in api.calls] == [f"Bearer {STRIPE_KEY}"] * good
    assert WRITTEN in asked
    assert MISREAD not in asked


async def test_who_calls_names_the_relay_and_its_version(data_api: DataApi) -> None:
    from relay import __version__

    async with serving(environ(data_api.url)) as relay:
        await relay.deliver(completed())
    data_api.always = Reply(body={"object": "list", "data": [], "has_more": False, "url": "/v1/events"})
    settings = Settings.from_env(environ(data_api.url, STRIPE_API_BASE=data_api.url), now=0)
    async with StripeApi.connect(settings) as stripe_api:
        assert [page async for page in stripe_api.events(0)] == []

    data_apis, stripes = (call.headers["user-agent"] for call in data_api.calls)
    assert data_apis == f"order-group-relay/{__version__}"
    assert stripes.endswith(f" order-group-relay/{__version__}")
