"""Did Stripe send these bytes, just now? Sans-I/O.

Stripe's own SDK decides (https://docs.stripe.com/webhooks), behind a strict reading: a delivery passes only where both
agree. Alone the SDK would take future times, numbers that only Python reads as such and the last of two times, knows
one secret, and raises TypeError and UnicodeDecodeError for what a stranger may send.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stripe import SignatureVerificationError, WebhookSignature

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
    (header,) = headers
    timestamp = _timestamp(header)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidSignature from None
    position = _matching_secret(body, header, secrets)
    if abs(int(now) - timestamp) > tolerance:
        raise TimestampOutsideTolerance
    return Verified(text, position)


def _timestamp(header: str) -> int:
    """The one `t=` of a header that can be read in one way only. Raises InvalidSignature."""
    items = header.split(",")
    # The SDK compares with ASCII alone, and reads of `v1=a=b` the a.
    if not header.isascii() or any(item.count("=") != 1 for item in items if not _is_of_another_scheme(item)):
        raise InvalidSignature
    stamps = [item[2:] for item in items if item.startswith("t=")]
    # Two times are refused: implementations differ in which one they read.
    if len(stamps) != 1 or not _TIMESTAMP.fullmatch(stamps[0]):
        raise InvalidSignature
    try:
        return int(stamps[0])
    except ValueError:  # Python reads no more than 4300 digits
        raise InvalidSignature from None


def _is_of_another_scheme(item: str) -> bool:
    """Neither time nor signature as far as is known today, so that it does not count."""
    return "=" in item and not item.startswith(("t=", "v1="))


def _matching_secret(body: bytes, header: str, secrets: Sequence[str]) -> int:
    """The position of the first secret that made any of the signatures; while a secret is rolled, Stripe sends several.
    Raises InvalidSignature."""
    for position, secret in enumerate(secrets, start=1):
        try:
            # Without a tolerance: the SDK knows of times that are too old, and not of future ones.
            WebhookSignature.verify_header(body, header, secret)
        except SignatureVerificationError:
            continue
        return position
    raise InvalidSignature
