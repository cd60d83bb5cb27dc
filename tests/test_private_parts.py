"""What the relay uses of its libraries though they do not promise it: each is named, with what to do when it is gone.

pyproject.toml keeps these libraries below the next version that may change them; `make canary` looks beyond.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from functools import reduce

import httpx
import pytest

CONNECTIONS = (
    "relay/server/connections.py cuts senders who dawdle by it: find what replaced it, or put a proxy in front"
)
SERVER = "relay/server/connections.py puts its connections in by it: find another way to a connection class of our own"
POOL = (
    "relay/data_api/transport.py gives up connections by it on which something came unasked: see whether "
    "aiohttp does so by itself (test_what_comes_between_two_calls_ends_the_connection), or look for its new name"
)
REQUEST = "relay/data_api/transport.py stands in for httpx.AsyncClient.request: see what supabase-py sends with now"
WORDS = "relay/data_api/failures.py reads an error's code and words by it: read PostgREST's JSON and Proxy-Status there"

# Module, path within it, and the parameters that are passed by these names.
PARTS: dict[tuple[str, str, Sequence[str]], str] = {
    ("aiohttp.web_protocol", "RequestHandler._waiter", ()): CONNECTIONS,
    ("aiohttp.web_protocol", "RequestHandler._request_count", ()): CONNECTIONS,
    ("aiohttp.web_protocol", "RequestHandler.force_close", ()): CONNECTIONS,
    ("aiohttp.web_protocol", "RequestHandler.start", ()): CONNECTIONS,
    ("aiohttp.base_protocol", "BaseProtocol.pause_writing", ()): CONNECTIONS,
    ("aiohttp.base_protocol", "BaseProtocol.resume_writing", ()): CONNECTIONS,
    ("aiohttp.web", "Server.shutdown", ("timeout",)): SERVER,
    ("aiohttp.web_protocol", "RequestHandler.handle_error", ("request", "status", "exc", "message")): (
        "relay/server/connections.py answers by it what is no HTTP: find where aiohttp makes that answer now"
    ),
    ("aiohttp.web_protocol", "RequestPayloadError", ()): (
        "relay/server/deliveries.py turns it into malformed_request: see what a body that breaks off raises now"
    ),
    ("aiohttp.web", "AppRunner._make_server", ()): SERVER,
    ("aiohttp.web", "Server", ("request_factory",)): SERVER,
    ("aiohttp.http_writer", "StreamWriter.output_size", ()): (
        "relay/server/app.py sets it to zero after `100 Continue`: see what tells aiohttp that no answer has begun"
    ),
    ("aiohttp.connector", "TCPConnector._get", ("key", "traces")): POOL,
    ("aiohttp.client_proto", "ResponseHandler.should_close", ()): POOL,
    ("aiohttp.connector", "TCPConnector._wrap_create_connection", ()): (
        "relay/data_api/transport.py shortens by it the farewell of a connection that is given up while it connects: "
        "see what hands ssl_shutdown_timeout to the event loop now"
    ),
    (
        "asyncio",
        "SelectorEventLoop._accept_connection",
        ("protocol_factory", "sock", "sslcontext", "server", "backlog"),
    ): (
        "relay/server/connection_limit.py accepts fewer connections at once by it: see what asyncio calls now when its "
        "listening socket is ready"
    ),
    ("gunicorn.arbiter", "Arbiter.kill_workers", ("sig",)): (
        "relay/server/gunicorn_settings.py ends the workers by it at a second signal: find their process ids elsewhere"
    ),
    ("supabase", "AsyncClientOptions", ("httpx_client",)): REQUEST,
    ("postgrest.base_request_builder", "RequestConfig.send", ()): REQUEST,
    ("httpx", "AsyncClient.request", ("method", "url", "content", "params", "headers")): REQUEST,
    ("postgrest.exceptions", "APIErrorFromJSON", ("code", "message")): WORDS,
    ("postgrest.exceptions", "generate_default_error_message", ("r",)): WORDS,
}


def part_of(module: str, path: str) -> object:
    """The thing itself. Raises ImportError or AttributeError where it is gone."""
    return reduce(getattr, path.split("."), importlib.import_module(module))


@pytest.mark.parametrize(("module", "path", "parameters"), PARTS, ids=[f"{key[0]}:{key[1]}" for key in PARTS])
def test_a_private_part_is_there_as_the_relay_uses_it(module: str, path: str, parameters: Sequence[str]) -> None:
    remedy = PARTS[module, path, parameters]
    try:
        part = part_of(module, path)
    except (ImportError, AttributeError):
        pytest.fail(f"{module}.{path} is gone. {remedy}")

    if parameters:
        assert callable(part)
        missing = set(parameters) - inspect.signature(part).parameters.keys()
        assert not missing, f"{module}.{path} no longer takes {', '.join(sorted(missing))}. {remedy}"


def test_supabase_py_reads_postgrests_code_of_a_proxys_page() -> None:
    from postgrest.exceptions import generate_default_error_message

    page = httpx.Response(502, headers={"Proxy-Status": 'kong, PostgREST; error="55P03"'})

    assert generate_default_error_message(page)["code"] == "55P03", WORDS
