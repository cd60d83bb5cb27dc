"""The exceptions of the relay, as one tree: every way in which a delivery ends without a decision.

`Refused` (4xx) is raised before the database is called. `NoVerdict` (500) says that the relay does not know whether the
payment was reconciled; the next delivery of the event finds out, because reconciling twice changes nothing.
"""

import errno
from typing import ClassVar

from relay.core.outcomes import Outcome, Reason, Verdict


class RelayError(Exception):
    """The root. The sender sees only its `verdict`, and nothing else of the exception."""

    outcome: ClassVar[Outcome] = Outcome.FAILED
    reason: Reason = Reason.UNEXPECTED
    detail: str = ""
    """For the log: codes, class names and fixed words, never a message that may quote a payload."""

    @property
    def verdict(self) -> Verdict:
        """The answer to a delivery that ends with this exception."""
        return Verdict(self.outcome, self.reason)


class Refused(RelayError):
    """The request does not prove that Stripe sent it, or cannot be read. Nothing was written."""

    outcome = Outcome.REFUSED


class WrongPath(Refused):
    """A signed POST came to another path than the webhook's: the endpoint's URL at Stripe, or a proxy's, is wrong."""

    reason = Reason.WRONG_PATH


class MethodNotAllowed(Refused):
    """Somebody opened the webhook's address in a browser, or a health check points at it. Stripe only POSTs."""

    reason = Reason.METHOD_NOT_ALLOWED


class UnsupportedContentEncoding(Refused):
    """The body is compressed. Stripe signs and sends plain bytes; check proxies in front of the relay."""

    reason = Reason.UNSUPPORTED_CONTENT_ENCODING


class BodyTooLarge(Refused):
    """The body is over 1 MiB. Checkout events are a few KiB."""

    reason = Reason.BODY_TOO_LARGE


class RequestTimeout(Refused):
    """The body did not arrive in time: the sender is slow, or gone. The relay closes the connection."""

    reason = Reason.REQUEST_TIMEOUT


class MalformedRequest(Refused):
    """The bytes are not HTTP, or the transfer broke off."""

    reason = Reason.MALFORMED_REQUEST


class MissingSignature(Refused):
    """The request has no `Stripe-Signature`: Stripe did not send it, or a proxy removes the header."""

    reason = Reason.MISSING_SIGNATURE


class InvalidSignature(Refused):
    """The signature cannot be read, or no configured secret made it."""

    reason = Reason.INVALID_SIGNATURE


class NoSecretMatched(InvalidSignature):
    """The request is forged, a proxy rewrites bodies, or another endpoint sends here."""

    detail = "no configured secret made it: is there another endpoint of Stripe with this URL, or a deleted one?"


class TimestampOutsideTolerance(Refused):
    """The signature is good and its time is too far off: somebody sent a captured request again, or this host's clock
    is wrong.
    """

    reason = Reason.TIMESTAMP_OUTSIDE_TOLERANCE


class MalformedEvent(Refused):
    """The body is properly signed and is no event that the relay can read: check the endpoint's API version."""

    reason = Reason.MALFORMED_EVENT


class TooMuchMetadata(MalformedEvent):
    """What is to be kept of a payment's metadata is more than the database takes: name what is needed in
    RELAY_METADATA_KEYS. Sizes are in bytes.
    """

    def __init__(self, size: int, *, most: int) -> None:
        super().__init__(size, most)
        self.detail = f"{size:,} bytes of session metadata to keep, {most:,} at most: RELAY_METADATA_KEYS narrows them"


class ThinEvent(Refused):
    """The event announces a payment without its session. Create the endpoint at Stripe anew, with snapshot payloads."""

    reason = Reason.THIN_EVENT
    detail = "the endpoint sends thin payloads, and the relay needs snapshot payloads"


class NoVerdict(RelayError):
    """The database gave no decision, or none in time. `retryable`: calling once more at once is safe and may help."""

    def __init__(self, reason: Reason, detail: str, *, retryable: bool = False) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.retryable = retryable


class Declined(NoVerdict):
    """The database function understood the request and declined it. The message is the function's own sentence, for the
    operator who asked; it is never logged.
    """

    def __init__(self, sentence: str, *, reason: Reason = Reason.UNEXPECTED, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


def errno_name(error: BaseException) -> str | None:
    """The name of an operating system's error, such as `ECONNREFUSED`; None for any other. Subclasses of OSError that
    libraries define number their errors in their own way: 1 is EPERM, but also a failed TLS handshake.
    """
    if type(error).__module__ != "builtins":
        return None
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number) if isinstance(number, int) else None
