"""Did Stripe send these bytes, just now? Sans-I/O.

The HMAC is the stripe SDK's (`WebhookSignature.verify_header`); this module closes what the SDK leaves open:
future timestamps, several secrets, several headers, non-ASCII headers (the SDK raises TypeError), bodies that
are not UTF-8 (UnicodeDecodeError), a tolerance of zero. `construct_event` is not used: it builds SDK objects
that nobody reads, at many times the cost.
https://docs.stripe.com/webhooks#verify-manually
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stripe import SignatureVerificationError, WebhookSignature

from relay.errors import InvalidSignature, MissingSignature, TimestampOutsideTolerance

# The SDK reads the number with int(), which also takes "+1", "1_0", blanks and foreign digits. Stripe sends
# digits; a minus is let through so that a signed time before 1970 is judged as a time.
_TIMESTAMP = re.compile(r"-?[0-9]+")


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
    try:
        timestamp = _timestamp(headers[0])
        text = body.decode("utf-8")
        position = _matching_secret(text, headers[0], secrets)
    except Exception:
        # Whatever a forged header makes the SDK do is the sender's fault, not a 500 of ours. Not chained:
        # the SDK's exceptions carry header and payload.
        raise InvalidSignature from None
    if abs(int(now) - timestamp) > tolerance:
        raise TimestampOutsideTolerance
    return Verified(text, position)


def _timestamp(header: str) -> int:
    """The one `t=` of the header. Two of them are refused: SDKs differ in which one they read."""
    if not header.isascii():
        raise InvalidSignature
    values = [item[2:] for item in header.split(",") if item.startswith("t=")]
    if len(values) != 1 or not _TIMESTAMP.fullmatch(values[0]):
        raise InvalidSignature
    return int(values[0])


def _matching_secret(text: str, header: str, secrets: Sequence[str]) -> int:
    """The position of the first secret with which any `v1=` of the header agrees; other schemes do not count."""
    for position, secret in enumerate(secrets, start=1):
        try:
            # Without a tolerance the SDK leaves the time alone; `verify` judges it, on both sides.
            WebhookSignature.verify_header(text, header, secret, None)
        except SignatureVerificationError:
            continue
        return position
    raise InvalidSignature
