"""Did Stripe send these bytes, just now? Sans-I/O.

Stripe's scheme is one HMAC over the time and the body as they were sent: https://docs.stripe.com/webhooks#verify-manually.
It is computed here over those bytes. stripe-python's own check would need a wrapper around most of it: it takes future
times, numbers that only Python reads as such and a tolerance of zero, knows one secret, and raises TypeError and
UnicodeDecodeError for what a stranger may send. A test compares both.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from relay.core.errors import InvalidSignature, MissingSignature, TimestampOutsideTolerance

# int() would also take "+1", "1_0", "01", blanks and foreign digits. Stripe sends digits; a minus is let through so
# that a signed time before 1970 is judged as a time.
_TIMESTAMP = re.compile(r"0|-?[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Verified:
    """A body that one of the secrets has signed."""

    text: str
    secret_position: int
    """Counted from 1, in the order of STRIPE_WEBHOOK_SECRET: says which secret, without showing it."""


def verify(body: bytes, headers: Sequence[str], *, secrets: Sequence[str], now: float, tolerance: int) -> Verified:
    """Return the body as text if one of `secrets` signed it within `tolerance` seconds of `now`.

    `headers` are all values of `Stripe-Signature`; `now` is in seconds since 1970. Raises MissingSignature,
    TimestampOutsideTolerance (only where the signature itself is good) or InvalidSignature; never anything
    else, whatever the sender put into the header or the body.
    """
    if not any(header.strip() for header in headers):
        raise MissingSignature
    if len(headers) > 1:
        # A proxy that appends a header must not decide which one counts.
        raise InvalidSignature
    stamp, signatures = _read(headers[0])
    position = _matching_secret(b"%b.%b" % (stamp.encode(), body), signatures, secrets)
    try:
        timestamp, text = int(stamp), body.decode("utf-8")
    except ValueError:  # Python reads no more than 4300 digits; UnicodeDecodeError is one, too
        raise InvalidSignature from None
    if abs(int(now) - timestamp) > tolerance:
        raise TimestampOutsideTolerance
    return Verified(text, position)


def _read(header: str) -> tuple[str, list[str]]:
    """The one `t=` of the header, and all its `v1=`; other schemes do not count. Raises InvalidSignature."""
    items = header.split(",")
    # ASCII is also what compare_digest asks for.
    if not header.isascii() or not all("=" in item for item in items):
        raise InvalidSignature
    stamps = [item[2:] for item in items if item.startswith("t=")]
    # Two times are refused: implementations differ in which one they read.
    if len(stamps) != 1 or not _TIMESTAMP.fullmatch(stamps[0]):
        raise InvalidSignature
    return stamps[0], [item[3:] for item in items if item.startswith("v1=")]


def _matching_secret(signed: bytes, signatures: Sequence[str], secrets: Sequence[str]) -> int:
    """The position of the first secret that made any of the signatures; while a secret is rolled, Stripe sends several.
    Raises InvalidSignature."""
    for position, secret in enumerate(secrets, start=1):
        expected = hmac.new(secret.encode(), signed, "sha256").hexdigest()
        if any(hmac.compare_digest(expected, signature) for signature in signatures):
            return position
    raise InvalidSignature
