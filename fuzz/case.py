"""One request of a run, and what may be answered to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from relay.server import lifecycle
from relay.server.webhook import PATH


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes to send on a connection."""

    kind: str
    content: bytes
    alone: bool = False
    """The relay may close the connection after it, so nothing may follow on the same one."""
    whole: bool = True
    """It is a complete request (or certainly none): an answer must come before the connection ends."""
    on_route: bool = True
    """It is for the webhook: the answer must have the five keys."""
    bodiless: bool = False
    """The answer has no body (HEAD)."""
    signed: bool = False
    """The signature is good: the answer may be any that the contract has for it."""


def on_lifecycle(case: Case) -> Case:
    """The same request to the lifecycle route. No body holds the path, but for a request that is smuggled in one."""
    return replace(case, content=case.content.replace(PATH.encode(), lifecycle.PATH.encode()))


def request(
    body: bytes,
    *headers: bytes,
    method: bytes = b"POST",
    target: bytes = PATH.encode(),
    version: bytes = b"HTTP/1.1",
    length: bytes | None = None,
) -> bytes:
    """A request as it travels; `length` replaces the true Content-Length."""
    announced = b"%d" % len(body) if length is None else length
    lines = [b"%b %b %b" % (method, target, version), b"Host: relay", *headers, b"Content-Length: " + announced]
    return b"\r\n".join([*lines, b"", body])
