"""What may be answered to a case. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from fuzz.case import Case
from relay.core.lifecycle import STATUSES, Kind
from relay.core.outcomes import Outcome, Reason
from testkit.wire import Answer

KEYS = {"received", "outcome", "reason", "event_id", "order_group_id"}
HEADERS = {"content-type", "content-length", "date", "server", "allow", "connection"}
# What a signed delivery may be answered by a relay whose Data API is well.
SIGNED = {
    (200, outcome)
    for outcome in ("applied", "unmatched", "ignored", "awaiting_funds", "replayed", "already_paid", "recorded")
}
SIGNED |= {(400, "refused"), (500, "rejected"), (200, "resolved")}
SIGNED_REFUSALS = {"malformed_event", "thin_event", "invalid_signature"}
# aiohttp's own answers, on routes that are not the webhook's.
PLAIN = {b"404: Not Found", b"405: Method Not Allowed"}
LONGEST = 255  # characters of an id, or of a word
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")


def problem_of(case: Case, answer: Answer) -> str | None:
    """What is wrong with the answer, in words; None where nothing is."""
    if extra := answer.headers.keys() - HEADERS:
        return f"headers {sorted(extra)}"
    if case.bodiless:
        return None if 400 <= answer.status < 500 else f"status {answer.status}"
    if not case.signed and not 400 <= answer.status < 500:
        return f"status {answer.status}"
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return "no JSON" if case.on_route or answer.body not in PLAIN else None
    return _problem_of_body(case, answer)


def _problem_of_body(case: Case, answer: Answer) -> str | None:
    body = json.loads(answer.body)
    if not isinstance(body, dict) or body.keys() != KEYS:
        return "not the five keys"
    if body["outcome"] not in set(Outcome) or body["reason"] not in {None, *Reason}:
        return "a word that is not the contract's"
    if body["received"] is not (body["outcome"] != "refused"):
        return "received does not agree with the outcome"
    if case.signed:
        return _problem_of_signed(answer.status, body)
    # Before a signature counts, nothing of what was sent comes back.
    if body["outcome"] != "refused" or body["event_id"] is not None or body["order_group_id"] is not None:
        return "more than a refusal"
    return None


def _problem_of_signed(status: int, body: dict[str, Any]) -> str | None:
    if (status, body["outcome"]) not in SIGNED:
        return f"{status} {body['outcome']} {body['reason']}"
    if body["outcome"] == "refused" and body["reason"] not in SIGNED_REFUSALS:
        return f"refused for {body['reason']}"
    if body["received"] and not isinstance(body["event_id"], str):
        return "an outcome without an event"
    return None


def problem_of_call(path: str, sent: dict[str, Any]) -> str | None:
    """What is wrong with the parameters that reached the Data API; None where they are the function's."""
    if path.endswith("/rpc/note_awaiting_funds"):
        return _problem_of_notice(sent)
    kind: Kind
    for kind in ("refund", "dispute"):
        if path.endswith(f"/rpc/record_{kind}"):
            return _problem_of_reversal(kind, sent)
    if path.endswith("/rpc/cancel_order_group"):
        return _problem_of_cancelling(sent)
    unmatched, amount_minor, amount = sent["p_unmatched_reason"], sent["p_amount_minor"], sent["p_amount"]
    group, currency, metadata = sent["p_order_group_id"], sent["p_currency"], sent["p_session_metadata"]
    wrong = {
        "path": not path.endswith("/rpc/reconcile_order_group_payment"),
        "order group": (group is None) is not (unmatched is not None) or not (group is None or _UUID.fullmatch(group)),
        "event id": not isinstance(sent["p_stripe_event_id"], str) or not sent["p_stripe_event_id"].strip(),
        "session id": not isinstance(sent["p_checkout_session_id"], str) or not sent["p_checkout_session_id"].strip(),
        "livemode": sent["p_livemode"] is not False,
        "minor units": amount_minor is not None and (type(amount_minor) is not int or not 0 <= amount_minor < 2**63),
        "amount": (amount is None) is not (amount_minor is None) or not (amount is None or _DECIMAL.fullmatch(amount)),
        "currency": not (currency is None or (currency.isascii() and currency == currency.upper())),
        "metadata": any(type(value) is not str for value in metadata.values()),
        "text that Postgres cannot store": bool(re.search("[\x00\ud800-\udfff]", _all_text(sent))),
    }
    return next((what for what, is_wrong in wrong.items() if is_wrong), None)


def _problem_of_notice(sent: dict[str, Any]) -> str | None:
    wrong = {
        "order group": not _UUID.fullmatch(str(sent["p_order_group_id"])),
        "event id": not isinstance(sent["p_stripe_event_id"], str) or not sent["p_stripe_event_id"].strip(),
        "session id": not isinstance(sent["p_checkout_session_id"], str) or not sent["p_checkout_session_id"].strip(),
        "text that Postgres cannot store": bool(re.search("[\x00\ud800-\udfff]", _all_text(sent))),
    }
    return next((what for what, is_wrong in wrong.items() if is_wrong), None)


def _problem_of_reversal(kind: Kind, sent: dict[str, Any]) -> str | None:
    ids = (sent[f"p_{kind}_id"], sent["p_payment_intent_id"], sent["p_stripe_event_id"])
    amount_minor, currency, reason = sent["p_amount_minor"], sent["p_currency"], sent["p_reason"]
    wrong = {
        "id": any(not isinstance(each, str) or not each.strip() or len(each) > LONGEST for each in ids),
        "livemode": sent["p_livemode"] is not False,
        "minor units": type(amount_minor) is not int or not 0 < amount_minor < 2**63,
        "amount": not _DECIMAL.fullmatch(str(sent["p_amount"])),
        "currency": not currency.isascii() or currency != currency.upper() or not 0 < len(currency) <= 3,
        "status": sent["p_status"] not in STATUSES[kind],
        "created": not "2000" <= sent["p_created"][:4] <= "2100",
        "reason": not (reason is None or 0 < len(reason) <= LONGEST),
        "text that Postgres cannot store": bool(re.search("[\x00\ud800-\udfff]", _all_text(sent))),
    }
    return next((what for what, is_wrong in wrong.items() if is_wrong), None)


def _problem_of_cancelling(sent: dict[str, Any]) -> str | None:
    session_id = sent["p_checkout_session_id"]
    wrong = {
        "order group": not _UUID.fullmatch(str(sent["p_order_group_id"])),
        "session id": not isinstance(session_id, str) or not session_id.strip() or len(session_id) > LONGEST,
        "text that Postgres cannot store": bool(re.search("[\x00\ud800-\udfff]", _all_text(sent))),
    }
    return next((what for what, is_wrong in wrong.items() if is_wrong), None)


def _all_text(value: object) -> str:
    if isinstance(value, dict):
        return "".join(map(_all_text, [*value, *value.values()]))
    return value if isinstance(value, str) else ""
