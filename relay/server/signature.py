"""Verifies that Stripe signed a body, and signed it just now. No I/O.

A strict reading of the header comes first, then Stripe's own SDK (https://docs.stripe.com/webhooks): a delivery passes
only where both agree. The SDK alone would accept times in the future, numbers that only Python reads as numbers, and
the last of two times. It takes one secret, and raises TypeError or UnicodeDecodeError for what a stranger may send.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stripe import SignatureVerificationError, WebhookSignature

from relay.core.errors import InvalidSignature, MissingSignature, NoSecretMatched, TimestampOutsideTolerance

# int() would also accept "+1", "1_0", "01", blanks and non-ASCII digits. Stripe sends plain digits. A minus is accepted
# so that a signed time before 1970 is refused for its time and not for its form.
_TIMESTAMP = re.compile(r"0|-?[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Verified:
    """A body that was signed with one of the secrets."""

    text: str
    secret_position: int
    """Which secret it was, counted from 1 in the order of STRIPE_WEBHOOK_SECRET."""


def verify(body: bytes, headers: Sequence[str], *, secrets: Sequence[str], now: float, tolerance: int) -> Verified:
    """Return the body as text if it was signed with one of `secrets` within `tolerance` seconds of `now`.

    `headers` are all values of `Stripe-Signature`; `now` is in seconds since 1970. Raises MissingSignature,
    InvalidSignature, or TimestampOutsideTolerance where the signature itself is good. Nothing else is raised, whatever
    the sender put into the header or the body.
    """
    if not any(header.strip() for header in headers):
        raise MissingSignature
    if len(headers) > 1:
        # A proxy that adds a header must not decide which one counts.
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
    """The time of a header, in seconds since 1970. Raises InvalidSignature where the header can be read in two ways."""
    items = header.split(",")
    # The SDK can compare ASCII only, and reads `v1=a=b` as `v1=a`.
    if not header.isascii() or any(item.count("=") != 1 for item in items if not _is_of_another_scheme(item)):
        raise InvalidSignature
    stamps = [item[2:] for item in items if item.startswith("t=")]
    # Two times are refused, because implementations differ in which one they read.
    if len(stamps) != 1 or not _TIMESTAMP.fullmatch(stamps[0]):
        raise InvalidSignature
    try:
        return int(stamps[0])
    except ValueError:  # Python reads at most 4300 digits
        raise InvalidSignature from None


def _is_of_another_scheme(item: str) -> bool:
    """Whether the item is neither a time nor a signature of today's scheme. Such an item is ignored."""
    return "=" in item and not item.startswith(("t=", "v1="))


def _matching_secret(body: bytes, header: str, secrets: Sequence[str]) -> int:
    """The position of the first secret that made one of the signatures; Stripe sends several while a secret is rolled.
    Raises NoSecretMatched.
    """
    for position, secret in enumerate(secrets, start=1):
        try:
            # Without a tolerance: the SDK would refuse times that are too old, but not those in the future.
            WebhookSignature.verify_header(body, header, secret)
        except SignatureVerificationError:
            continue
        return position
    raise NoSecretMatched
