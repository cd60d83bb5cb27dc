"""Every way to end without a decision, as one tree.

Refusals (4xx) are judged before anything behind the relay is touched. `NoVerdict` (500) says that nobody
knows whether the payment was reconciled; the next delivery finds out, because a replay changes nothing.
"""

from typing import ClassVar

from relay.core.outcomes import Outcome, Reason, Verdict


class RelayError(Exception):
    """The root. Its `verdict` is what the sender sees; nothing else of the exception ever leaves."""

    outcome: ClassVar[Outcome] = Outcome.FAILED
    reason: Reason = Reason.UNEXPECTED
    detail: str = ""
    """For the log: codes, class names and fixed words, never a message that may quote a payload."""

    @property
    def verdict(self) -> Verdict:
        """What a delivery that ends with it is answered."""
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
    """The body did not arrive in time: a slow or half-open sender. Its connection is cut."""

    reason = Reason.REQUEST_TIMEOUT


class MalformedRequest(Refused):
    """The bytes are not HTTP, or the transfer broke off."""

    reason = Reason.MALFORMED_REQUEST


class MissingSignature(Refused):
    """No `Stripe-Signature`: not Stripe, or a proxy strips the header."""

    reason = Reason.MISSING_SIGNATURE


class InvalidSignature(Refused):
    """No configured secret matches: a forgery, a proxy that rewrites bodies, or the secret of another
    endpoint.
    """

    reason = Reason.INVALID_SIGNATURE


class TimestampOutsideTolerance(Refused):
    """The signature is good but its time is off: a captured request sent again, or a wrong clock on this
    host.
    """

    reason = Reason.TIMESTAMP_OUTSIDE_TOLERANCE


class MalformedEvent(Refused):
    """Properly signed, yet not an event that can be understood: check the endpoint's API version."""

    reason = Reason.MALFORMED_EVENT


class ThinEvent(Refused):
    """A payment was announced without its session. Make the endpoint at Stripe anew, with snapshot payloads."""

    reason = Reason.THIN_EVENT
    detail = "the endpoint sends thin payloads, and the relay needs snapshot payloads"


class NoVerdict(RelayError):
    """The database gave no decision in time."""

    def __init__(self, reason: Reason, detail: str, *, retryable: bool = False) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.retryable = retryable


class Declined(NoVerdict):
    """The database understood the request and said no. The message is its function's own sentence: for the operator who
    asked, never for the log.
    """

    def __init__(self, sentence: str, *, reason: Reason = Reason.UNEXPECTED, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence
