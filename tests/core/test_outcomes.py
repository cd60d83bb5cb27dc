"""Every way in which a delivery can end has one HTTP status, whether it is returned or raised."""

from relay.core import errors
from relay.core.errors import Declined, NoVerdict, Refused, RelayError
from relay.core.outcomes import REASONS_OF, Outcome, Reason, Verdict

STATUSES = {
    (Outcome.REFUSED, Reason.WRONG_PATH): 404,
    (Outcome.REFUSED, Reason.METHOD_NOT_ALLOWED): 405,
    (Outcome.REFUSED, Reason.REQUEST_TIMEOUT): 408,
    (Outcome.REFUSED, Reason.BODY_TOO_LARGE): 413,
    (Outcome.REFUSED, Reason.UNSUPPORTED_CONTENT_ENCODING): 415,
}
BY_OUTCOME = {Outcome.REFUSED: 400, Outcome.REJECTED: 500, Outcome.FAILED: 500}


def test_the_status_of_every_end() -> None:
    for outcome, reasons in REASONS_OF.items():
        for reason in reasons:
            expected = STATUSES.get((outcome, reason), BY_OUTCOME.get(outcome, 200)) if reason else 200
            assert Verdict(outcome, reason).status == expected, (outcome, reason)


def test_each_refusal_is_raised_as_one_exception() -> None:
    raised = [kind().verdict for kind in vars(errors).values() if isinstance(kind, type) and kind.__base__ is Refused]

    assert {verdict.outcome for verdict in raised} == {Outcome.REFUSED}
    assert sorted(verdict.reason or "" for verdict in raised) == sorted(REASONS_OF[Outcome.REFUSED], key=str)


def test_what_is_no_decision_is_a_500() -> None:
    for error in (RelayError(), NoVerdict(Reason.TIMEOUT, ""), Declined("no such row")):
        assert (error.verdict.outcome, error.verdict.status) == (Outcome.FAILED, 500)
