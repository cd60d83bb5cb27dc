"""Amounts for people: exact, and with the decimals of their currency. Pure, no I/O."""

from decimal import Decimal
from typing import Final

from relay.core.currency import EXPONENTS

# Stripe counts these in hundredths although they have none: https://docs.stripe.com/currencies#special-cases
WHOLE_UNITS: Final = frozenset({"ISK", "UGX"})
# A currency that is not Stripe's has the commonest number of decimals, or more where the amount has them.
_UNKNOWN_EXPONENT: Final = 2


def format_amount(amount: str | None, currency: str | None) -> str:
    """("1234.5", "USD") -> "1,234.50 USD", ("100", "ISK") -> "100 ISK". Major units; nothing is ever rounded away."""
    if amount is None:
        return "-"
    value = Decimal(amount)
    decimals = 0 if currency in WHOLE_UNITS else EXPONENTS.get(currency or "", _UNKNOWN_EXPONENT)
    digits = max(decimals, -int(value.normalize().as_tuple().exponent))
    return f"{value:,.{digits}f} {currency or '?'}"
