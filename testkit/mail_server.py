"""A real mail server that keeps what it takes, and does what a test says at each step of a conversation."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Literal

from aiosmtpd.smtp import SMTP, Envelope, Session

Step = Literal["asked", "before it is taken", "after it was taken"]
TAKEN = "250 OK"


class MailServer:
    """The mails that were taken, in their order. `at` is called at each step of a mail; its answer, where it gives one,
    is the server's instead of taking the mail.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.at: Callable[[Step], str | None] = lambda _: None
        self.host = "127.0.0.1"
        self.port = 0

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Called by aiosmtpd for each recipient."""
        refusal = self.at("asked")
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or TAKEN

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Called by aiosmtpd for each mail."""
        if refusal := self.at("before it is taken"):
            return refusal
        content = envelope.content
        assert isinstance(content, bytes)
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.at("after it was taken")
        return TAKEN


@asynccontextmanager
async def listening() -> AsyncIterator[MailServer]:
    """A mail server on a free port of the loopback."""
    mails = MailServer()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mails, hostname="mail.example.com", loop=loop), mails.host, 0)
    async with server:
        mails.port = server.sockets[0].getsockname()[1]
        yield mails
