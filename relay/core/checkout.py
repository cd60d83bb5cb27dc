"""Decides what a verified event means: Ignored, AwaitingFunds, Unmatched or Payment. No I/O.

`judge` reads the JSON of the verified bytes and not the SDK's objects, which turn unknown shapes into exceptions and
change their attributes with the SDK's version. docs/contract.md has the order of the decisions.
"""

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from relay.core import currency
from relay.core.errors import MalformedEvent, ThinEvent, TooMuchMetadata
from relay.core.event import LONGEST_ID, THIN_EVENT, Event, usable_id
from relay.core.outcomes import Reason

# Either may come first, alone, twice, or at the same time as the other: https://docs.stripe.com/checkout/fulfillment
RECONCILING_TYPES: Final = frozenset({"checkout.session.completed", "checkout.session.async_payment_succeeded"})
_PAYMENT_STATUSES: Final = frozenset({"paid", "unpaid", "no_payment_required"})
_THIN_PREFIX: Final = "v1."
_REFERENCE: Final = "order_group_id"
BIGINT_MAX: Final = 2**63 - 1
# The bounds of the database function, which raises beyond them.
_EARLIEST_CREATED: Final = 946_684_800  # 2000-01-01
_LATEST_CREATED: Final = 4_102_444_800  # 2100-01-01
_MOST_METADATA: Final = 64 * 1024  # bytes of the text that PostgreSQL and json.dumps both write
# Postgres can store neither NUL nor half a surrogate pair, in jsonb or text. JSON can spell both.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Canonical, or 32 hexadecimal digits. `uuid.UUID` would also accept braces, `urn:uuid:` and hyphens anywhere. Such a
# reference did not come from the shop's checkout code, so an operator should see it.
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide about events."""

    livemode: bool
    """The mode of the Stripe key."""
    accounts: frozenset[str] = frozenset()
    """The accounts whose events are reconciled. Events that name no account always are."""
    ignores_unreferenced: bool = False
    """Whether a paid session without any reference is ignored."""
    metadata_keys: frozenset[str] | None = None
    """The keys of the session's metadata that are sent to the database; None: all."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """There is nothing to do, now or later: another type of event, another mode, another account."""

    reason: Reason
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class AwaitingFunds:
    """The buyer has finished the checkout and the money has not come yet: a bank debit, a voucher."""

    reason: Reason | None
    session_id: str
    order_group_id: str | None
    event_id: str
    event_created: str | None
    """ISO 8601 in UTC."""
    is_named_by_the_shop: bool = True

    @property
    def is_to_be_noted(self) -> bool:
        """Whether money is under way to an order group, which must not expire meanwhile. The visitor of a Payment Link
        cannot hold up a group of their choice.
        """
        return self.reason is None and self.order_group_id is not None and self.is_named_by_the_shop


@dataclass(frozen=True, slots=True)
class Payment:
    """A checkout session whose money has come, normalised to the parameters of the database function."""

    event_id: str
    event_type: str
    event_created: str | None
    """ISO 8601 in UTC."""
    livemode: bool
    session_id: str
    payment_intent_id: str | None
    """None where nothing was charged."""
    amount_minor: int | None
    """In minor units, as Stripe sent it; None where that is no amount."""
    amount: str | None
    """In major units, as plain decimal text; None where `amount_minor` is None."""
    currency: str | None
    metadata: Mapping[str, str]
    """What is kept of the session's metadata."""
    order_group_id: str | None
    """Canonical lower-case UUID; None only inside `Unmatched`."""
    account: str | None = None
    """The Stripe account that the event names; None where it names none."""


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Money has come, but the session does not say for which order group, or another account received the money."""

    reason: Reason
    payment: Payment


Decision = Ignored | AwaitingFunds | Unmatched | Payment


def judge(event: Event, rules: Rules) -> Decision:
    """Decide what the event means. Raises MalformedEvent or ThinEvent."""
    body = event.body
    if not is_one_of(RECONCILING_TYPES, event):
        return Ignored(Reason.EVENT_TYPE)
    session, session_id, payment_intent_id = checked_session(event)
    event_created = instant(body.get("created"))
    accounts = named_accounts(event)
    amount_minor, currency_code = _amount(session)
    # Stripe sends both flags equal. Should they ever differ, one of them is of the other mode, and nothing is paid.
    if body["livemode"] is not rules.livemode or session["livemode"] is not rules.livemode:
        return Ignored(Reason.LIVEMODE_MISMATCH, session_id)
    if session.get("mode") != "payment":
        return Ignored(Reason.SESSION_MODE, session_id)
    status = session["payment_status"]
    order_group_id, problem = reference(session)
    awaits_funds = status == "unpaid" or (status == "no_payment_required" and amount_minor != 0)
    foreign = next((name for name in accounts if name not in rules.accounts), None)
    if foreign is not None:
        if awaits_funds or _uuid(_named_in_metadata(session)) is None:
            return Ignored(Reason.FOREIGN_ACCOUNT, session_id)
        order_group_id, problem = None, Reason.FOREIGN_ACCOUNT
    elif problem is Reason.MISSING_REFERENCE and rules.ignores_unreferenced:
        return Ignored(Reason.MISSING_REFERENCE, session_id)
    elif awaits_funds:
        reason = None if status == "unpaid" else Reason.NO_PAYMENT_REQUIRED
        by_shop = is_named_by_the_shop(session)
        return AwaitingFunds(reason, session_id, order_group_id, event.id, event_created, by_shop)
    kept = rules.metadata_keys
    if kept is not None and order_group_id is None:
        # A payment without a group keeps its reference: nothing else leads a person from it to the order group.
        kept |= {_REFERENCE}
    payment = Payment(
        event_id=event.id,
        event_type=event.type,
        event_created=event_created,
        livemode=rules.livemode,
        session_id=session_id,
        payment_intent_id=payment_intent_id,
        amount_minor=amount_minor,
        amount=None if amount_minor is None else currency.to_major(amount_minor, currency_code),
        currency=currency_code,
        metadata=_metadata(session, kept),
        order_group_id=order_group_id,
        account=foreign or next(iter(accounts), None),
    )
    return payment if problem is None else Unmatched(problem, payment)


def is_one_of(types: Set[str], event: Event) -> bool:
    """Whether the event is of one of the types. Raises ThinEvent where its payload is thin."""
    is_listed = event.type in types
    if is_listed and event.body.get("object") == THIN_EVENT:
        raise ThinEvent
    if event.type.startswith(_THIN_PREFIX) and event.type.removeprefix(_THIN_PREFIX) in types:
        raise ThinEvent
    return is_listed


def checked_session(event: Event) -> tuple[Mapping[str, Any], str, str | None]:
    """The checkout session, its id and its payment intent's id. Raises MalformedEvent."""
    data = event.body.get("data")
    session = data.get("object") if isinstance(data, dict) else None
    if not isinstance(session, dict) or session.get("object") != "checkout.session":
        raise MalformedEvent
    session_id = usable_id(session.get("id"))
    if type(event.body.get("livemode")) is not bool or type(session.get("livemode")) is not bool:
        raise MalformedEvent
    status = session.get("payment_status")
    if not isinstance(status, str) or status not in _PAYMENT_STATUSES:
        raise MalformedEvent
    return session, session_id, payment_intent_of(session)


def payment_intent_of(thing: Mapping[str, Any]) -> str | None:
    """The id of the payment intent that an object names; None where it names none. Raises MalformedEvent."""
    payment_intent = thing.get("payment_intent")
    if isinstance(payment_intent, dict):  # an endpoint with `expand`, or an older API version
        return usable_id(payment_intent.get("id"))
    return None if payment_intent is None else usable_id(payment_intent)


def _amount(session: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """The amount in minor units and its currency, as the shop asked for them. Raises MalformedEvent.

    Presentment values are what the buyer saw, and are never read. A session with Adaptive Pricing that was made before
    API version 2025-03-31 has the shop's values in `currency_conversion` and the buyer's values outside of it.
    """
    conversion = session.get("currency_conversion")
    if conversion is None:
        amount, code = session.get("amount_total"), session.get("currency")
    elif isinstance(conversion, dict):
        amount, code = conversion.get("amount_total"), conversion.get("source_currency")
    else:
        amount, code = None, None
    if isinstance(code, str) and len(code.strip()) > currency.LONGEST_CODE:
        raise MalformedEvent
    if type(amount) is not int or not 0 <= amount <= BIGINT_MAX:  # `type`, because isinstance accepts True
        amount = None
    return amount, currency.code_of(code)


def reference(session: Mapping[str, Any]) -> tuple[str | None, Reason | None]:
    """The id of the order group that a session names, or why there is none.

    Metadata counts first: only the shop's server can set it, whereas anybody who opens a Payment Link can choose its
    `client_reference_id`. https://docs.stripe.com/payment-links/url-parameters
    """
    named = _named_in_metadata(session)
    client_reference = session.get("client_reference_id")
    if _is_blank(named):
        if _is_blank(client_reference):
            return None, Reason.MISSING_REFERENCE
        group = _uuid(client_reference)
        return group, None if group else Reason.MALFORMED_REFERENCE
    group = _uuid(named)
    if group is None:
        return None, Reason.MALFORMED_REFERENCE
    other = _uuid(client_reference)
    if other is not None and other != group:
        return None, Reason.CONFLICTING_REFERENCES
    return group, None


def is_named_by_the_shop(session: Mapping[str, Any]) -> bool:
    """Whether the shop, and not the visitor of a Payment Link, has chosen the order group that the session names."""
    return not _is_blank(_named_in_metadata(session)) or session.get("payment_link") is None


def _named_in_metadata(session: Mapping[str, Any]) -> object:
    """What the session's metadata say is the order group; None where they say nothing."""
    metadata = session.get("metadata")
    return metadata.get(_REFERENCE) if isinstance(metadata, dict) else None


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _uuid(value: object) -> str | None:
    """The canonical form, so that equal UUIDs are equal text; None where the value is no UUID."""
    if not isinstance(value, str) or not _UUID.fullmatch(stripped := value.strip()):
        return None
    digits = stripped.replace("-", "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _metadata(session: Mapping[str, Any], keys: Set[str] | None) -> dict[str, str]:
    """The session's metadata under these keys, all where that is None, as text by key; a value of another type is kept
    as its JSON text.

    Characters that Postgres cannot store are replaced, so that no metadata makes the call fail. Raises TooMuchMetadata
    where that is more than the database keeps.
    """
    metadata = session.get("metadata")
    if not isinstance(metadata, dict):
        return {}
    try:
        kept = {
            _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", key): _UNSTORABLE.sub(
                "\N{REPLACEMENT CHARACTER}", value if isinstance(value, str) else json.dumps(value)
            )
            for key, value in metadata.items()
            if keys is None or key in keys
        }
    except RecursionError:
        raise MalformedEvent from None
    size = len(json.dumps(kept, ensure_ascii=False).encode())
    if size > _MOST_METADATA:
        raise TooMuchMetadata(size, most=_MOST_METADATA)
    return kept


def named_accounts(event: Event) -> list[str]:
    """The accounts that the event names. Raises MalformedEvent."""
    return [_account_name(event.body[key]) for key in ("account", "context") if event.body.get(key) is not None]


def _account_name(value: object) -> str:
    """The name that an event gives an account; what is no id is kept as its JSON text. Raises MalformedEvent."""
    if isinstance(value, str) and value.isprintable() and " " not in value and value:
        name = value
    else:
        try:
            name = json.dumps(value)
        except RecursionError:
            raise MalformedEvent from None
    if len(name) > LONGEST_ID:
        raise MalformedEvent
    return name


def instant(created: object) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC; None where it is no whole number. Raises MalformedEvent out of bounds."""
    if type(created) is not int:
        return None
    if not _EARLIEST_CREATED <= created <= _LATEST_CREATED:
        raise MalformedEvent
    return datetime.fromtimestamp(created, UTC).isoformat()
