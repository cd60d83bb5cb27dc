"""The gateway in front of a Supabase project: API keys, `/rest/v1` for the Data API, `/auth/v1`, and browsers' CORS.

Runs as a process of its own (`python -m local_stack.gateway`), so that a test's event loop and the traffic
of a measurement don't wait for each other. Settings come as JSON in LOCAL_STACK_GATEWAY, because arguments
are visible to everybody on the machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from local_stack import auth

PREFIX = "/rest/v1"
UPSTREAM_SECONDS = 60.0  # the hosted gateway's own limit for a request
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_CONNECTIONS = 256  # to PostgREST, which has far fewer database connections behind it
WHOLE_ANSWER_BYTES = 256 * 1024  # up to here an answer is passed on in one piece, beyond it is streamed

# RFC 9110 7.6.1, and what either side's library sets by itself.
NOT_FORWARDED = frozenset(
    {"connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)
NOT_SENT_UP = NOT_FORWARDED | {"host", "apikey", "authorization", "content-length"}
NOT_SENT_DOWN = NOT_FORWARDED | {"content-length"}

NO_KEY = {
    "message": "No API key found in request",
    "hint": "No `apikey` request header or url param was found.",
}
BAD_KEY = {
    "message": "Invalid API key",
    "hint": "Double check your Supabase `anon` or `service_role` API key.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Where to listen, where PostgREST is, and which token stands for which API key."""

    host: str
    port: int
    upstream: str
    tokens: Mapping[str, str]  # API key -> the JWT that PostgREST understands; a JWT key stands for itself
    auth_dsn: str
    jwt_secret: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Gateway:
    """The request handler. One per process; owns the connections to PostgREST."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._tokens = settings.tokens
        self._upstream = settings.upstream
        self._auth = auth.Auth(dsn=settings.auth_dsn, jwt_secret=settings.jwt_secret)
        self._session: aiohttp.ClientSession

    async def lifetime(self, _app: web.Application) -> AsyncIterator[None]:
        """aiohttp's cleanup context: the client session lives as long as the application."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=UPSTREAM_SECONDS, sock_connect=5),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=[hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE],
        )
        async with self._session:
            yield

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Check the key, choose the token, pass the request on and the answer back."""
        authorization = self._authorization(request)
        if isinstance(authorization, web.Response):
            return authorization
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in NOT_SENT_UP
        )
        headers[hdrs.AUTHORIZATION] = authorization
        target = URL(self._upstream + (request.raw_path[len(PREFIX) :] or "/"), encoded=True)
        body = await request.read() if request.body_exists else None
        try:
            async with self._session.request(
                request.method, target, headers=headers, data=body, allow_redirects=False
            ) as answer:
                return await self._pass_back(request, answer)
        except TimeoutError:
            return web.json_response({"message": "The upstream server is timing out"}, status=504)
        except aiohttp.ClientConnectionError:
            message = "An invalid response was received from the upstream server"
            return web.json_response({"message": message}, status=502)

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Check the key, and answer as Supabase Auth."""
        authorization = self._authorization(request)
        if isinstance(authorization, web.Response):
            return authorization
        return await self._auth.handle(request, authorization=authorization)

    def _authorization(self, request: web.Request) -> str | web.Response:
        """The Authorization header for PostgREST, or the refusal."""
        given = request.headers.get(hdrs.AUTHORIZATION, "")
        bearer = given[7:] if given[:7].lower() == "bearer " else ""
        key = request.headers.get("apikey") or request.query.get("apikey") or bearer
        if not key:
            return web.json_response(NO_KEY, status=401)
        token = self._tokens.get(key)
        if token is None:
            return web.json_response(BAD_KEY, status=401)
        # A user's own token goes through; a key (in both headers, or only in `apikey`) becomes its token.
        return given if given and bearer != key else f"Bearer {token}"

    @staticmethod
    async def _pass_back(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = CIMultiDict(
            (name, value) for name, value in answer.headers.items() if name.lower() not in NOT_SENT_DOWN
        )
        length = answer.content_length
        if request.method == hdrs.METH_HEAD and length is not None:
            headers[hdrs.CONTENT_LENGTH] = str(length)
        # PostgREST sends small answers chunked too, so the length is known only by reading.
        start = await answer.content.read(WHOLE_ANSWER_BYTES + 1) if length is None else b""
        if length is not None and length <= WHOLE_ANSWER_BYTES:
            start = await answer.read()
        whole = (length is not None and length <= WHOLE_ANSWER_BYTES) or answer.content.at_eof()
        if whole:
            return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=start)
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        if length is not None:
            response.content_length = length
        await response.prepare(request)
        if start:
            await response.write(start)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def answer_preflight(request: web.Request) -> web.Response:
    """A browser asks, without a key, whether a page of another origin may send what it is about to send."""
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    return web.Response(
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: asked,
            hdrs.ACCESS_CONTROL_MAX_AGE: "3600",
        }
    )


async def allow_every_origin(request: web.Request, response: web.StreamResponse) -> None:
    """What authorizes is the key and the token, neither of which a browser adds by itself."""
    if hdrs.ORIGIN in request.headers:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"


def make_app(settings: GatewaySettings) -> web.Application:
    """The application; every other path is aiohttp's own 404."""
    gateway = Gateway(settings)
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.cleanup_ctx.append(gateway.lifetime)
    app.on_response_prepare.append(allow_every_origin)
    for prefix in (PREFIX, auth.PREFIX):
        app.router.add_route(hdrs.METH_OPTIONS, prefix + "/{path:.*}", answer_preflight)
    app.router.add_route("*", auth.PREFIX + "/{path:.*}", gateway.sign_in)
    app.router.add_route("*", PREFIX, gateway.handle)
    app.router.add_route("*", PREFIX + "/{path:.*}", gateway.handle)
    return app


async def serve(settings: GatewaySettings) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options: dict[str, Any] = {"access_log": None, "auto_decompress": False, "shutdown_timeout": 1.0}
    runner = web.AppRunner(make_app(settings), **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
        await stop.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(GatewaySettings(**json.loads(os.environ["LOCAL_STACK_GATEWAY"]))))
