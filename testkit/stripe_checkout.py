"""What Stripe does with `POST /v1/checkout/sessions`: it checks the parameters, and answers a session.

Of the parameters only those of a one-off payment on Stripe's own page are known; any other is refused as unknown.
https://docs.stripe.com/api/checkout/sessions/create
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from relay.core.currency import EXPONENTS, WHOLE_UNITS
from testkit.stripe_events import Json, completed, new_id, session_of

SHORTEST_SECONDS, LONGEST_SECONDS = 30 * 60, 24 * 3600  # a session's life, from its creation on
METADATA_KEYS, METADATA_KEY_CHARACTERS = 50, 40
LARGEST_AMOUNT = 99_999_999  # minor units
PRICE = r"line_items\[\d+\]\[price_data\]"


class Refused(Exception):
    """Stripe would answer 400; `param` is the parameter that it names."""

    def __init__(self, message: str, param: str, **more: str) -> None:
        super().__init__(message)
        self.details = {"param": param, **more}


def _is_url(value: str) -> bool:
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", value)


def _is_whole(smallest: int) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(r"\d+", value) is not None and smallest <= int(value) <= LARGEST_AMOUNT


def _is_text(longest: int) -> Callable[[str], bool]:
    return lambda value: 0 < len(value) <= longest


# Parameter -> whether its value is one that Stripe takes.
PARAMETERS: dict[str, Callable[[str], bool]] = {
    "mode": lambda value: value == "payment",
    "success_url": _is_url,
    "cancel_url": _is_url,
    "expires_at": lambda value: re.fullmatch(r"\d{1,12}", value) is not None,
    "client_reference_id": _is_text(200),
    "customer_email": _is_text(512),
    "locale": _is_text(10),
    r"metadata\[[^\[\]]+\]": lambda value: len(value) <= 500,
    r"payment_intent_data\[metadata\]\[[^\[\]]+\]": lambda value: len(value) <= 500,
    r"line_items\[\d+\]\[quantity\]": _is_whole(1),
    rf"{PRICE}\[currency\]": lambda value: value.islower() and value.upper() in EXPONENTS,
    rf"{PRICE}\[unit_amount\]": _is_whole(0),
    rf"{PRICE}\[product_data\]\[name\]": _is_text(250),
    rf"{PRICE}\[product_data\]\[description\]": _is_text(500),
}
REQUIRED = ("mode", "success_url", "line_items")


def open_session(parameters: Mapping[str, str], *, page: str) -> Json:
    """The session that the parameters ask for; the buyer pays it at `page` followed by its id. Raises Refused."""
    for name, value in parameters.items():
        judge = next((judge for known, judge in PARAMETERS.items() if re.fullmatch(known, name)), None)
        if judge is None:
            raise Refused(f"Received unknown parameter: {name}", name, code="parameter_unknown")
        if not judge(value):
            if name.endswith("_url"):
                raise Refused("Not a valid URL", name, code="url_invalid")
            raise Refused(f"Invalid {name}: {value}", name, code="parameter_invalid")
    for name in REQUIRED:
        if not any(given == name or given.startswith(f"{name}[") for given in parameters):
            raise Refused(f"Missing required param: {name}.", name, code="parameter_missing")
    now = int(time.time())
    expires_at = int(parameters.get("expires_at", now + LONGEST_SECONDS))
    if not now + SHORTEST_SECONDS <= expires_at <= now + LONGEST_SECONDS:
        raise Refused("The `expires_at` timestamp must be between 30 minutes and 24 hours from now.", "expires_at")
    metadata = under("metadata", parameters)
    if len(metadata) > METADATA_KEYS or any(len(name) > METADATA_KEY_CHARACTERS for name in metadata):
        raise Refused("Metadata has at most 50 keys of at most 40 characters.", "metadata")
    currency, amount = _sum(parameters)
    session_id = new_id("cs_test")
    return session_of(
        completed(
            id=session_id,
            amount_total=amount,
            cancel_url=parameters.get("cancel_url"),
            client_reference_id=parameters.get("client_reference_id"),
            created=now,
            currency=currency,
            customer_details=None,
            expires_at=expires_at,
            metadata=metadata,
            payment_intent=None,
            payment_status="unpaid",
            status="open",
            success_url=parameters["success_url"],
            url=f"{page}{session_id}",
        )
    )


def under(name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """The keys and values of an object among the parameters."""
    found = {re.fullmatch(rf"{re.escape(name)}\[([^\[\]]+)\]", given): value for given, value in parameters.items()}
    return {match[1]: value for match, value in found.items() if match}


def _sum(parameters: Mapping[str, str]) -> tuple[str, int]:
    """The currency that all line items share, and what they come to in minor units."""
    lines = {match[0] for name in parameters if (match := re.match(r"line_items\[\d+\]", name))}
    amount, currencies = 0, set()
    for line in sorted(lines):
        price = f"{line}[price_data]"
        for needed in (
            f"{line}[quantity]",
            f"{price}[currency]",
            f"{price}[unit_amount]",
            f"{price}[product_data][name]",
        ):
            if needed not in parameters:
                raise Refused(f"Missing required param: {needed}.", needed, code="parameter_missing")
        currencies.add(parameters[f"{price}[currency]"])
        unit = int(parameters[f"{price}[unit_amount]"])
        if parameters[f"{price}[currency]"].upper() in WHOLE_UNITS and unit % 100:
            raise Refused("Invalid integer: must be divisible by 100", f"{price}[unit_amount]")
        amount += unit * int(parameters[f"{line}[quantity]"])
    if len(currencies) != 1:
        raise Refused("All line items must have the same currency.", "line_items")
    return currencies.pop(), amount
