"""Converts Stripe's minor units to major units, and writes amounts for people. Exact: nothing is rounded.

The table is Stripe's: https://docs.stripe.com/currencies#zero-decimal and #special-cases. ISO 4217, CLDR and locale
libraries disagree with it (ISK, UGX, HUF, TWD) and change with their versions, so an upgrade of one could change an
amount by a factor of 100. `payments.currencies` holds the same table a second time on purpose: the database repeats
the conversion, and both results must agree. `/readyz` compares the two tables.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Final

_ZERO_DECIMAL: Final = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
_THREE_DECIMAL: Final = "BHD JOD KWD OMR TND"
# ISK and UGX only look like two-decimal currencies: Stripe charges whole units of them, so their minor amounts are
# multiples of 100 (WHOLE_UNITS). An amount that is none is passed on as it is, and the database rejects it.
_TWO_DECIMAL: Final = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BYR BZD CAD CDF
    CHF CNY COP CRC CVE CZK DKK DOP DZD EEK EGP ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG
    HUF IDR ILS INR ISK JMD KES KGS KHR KYD KZT LAK LBP LKR LRD LSL LTL LVL MAD MDL MKD MMK MNT MOP MRO MRU
    MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SEK
    SGD SHP SLE SLL SOS SRD STD STN SVC SZL THB TJS TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VEF VES WST XCD
    XCG YER ZAR ZMW
"""
# An unknown code is normalised with the commonest exponent. A database that does not know the code rejects it as
# `currency_unsupported`. A database that knows it computes the amount itself, so a wrong guess never becomes money.
_UNKNOWN_EXPONENT: Final = 2
# No amount has more digits on either side of its decimal point. A `numeric`, or text that a stranger wrote, may.
_MOST_DIGITS: Final = 40

EXPONENTS: Final[Mapping[str, int]] = MappingProxyType(
    dict.fromkeys(_TWO_DECIMAL.split(), 2)
    | dict.fromkeys(_ZERO_DECIMAL.split(), 0)
    | dict.fromkeys(_THREE_DECIMAL.split(), 3)
)
LONGEST_CODE: Final = 3
WHOLE_UNITS: Final = frozenset({"ISK", "UGX"})
"""Currencies without decimals that Stripe counts in hundredths."""


def code_of(value: object) -> str | None:
    """The currency as upper-case ASCII; None where the value cannot be stored as one.

    Other letters are not accepted: `str.upper` turns a few of them into ASCII ones, and no such text may become a
    currency.
    """
    if not isinstance(value, str):
        return None
    code = value.strip()
    if not code or len(code) > LONGEST_CODE or not (code.isascii() and code.isprintable()):
        return None
    return code.upper()


def exponent_of(currency: str | None) -> int:
    """How many decimals of the major unit one of Stripe's minor units stands for: 2 for USD, 0 for JPY."""
    return EXPONENTS.get(currency or "", _UNKNOWN_EXPONENT)


def decimals_of(currency: str | None) -> int:
    """How many decimals people write: 2 for USD, 0 for JPY and ISK."""
    return 0 if currency in WHOLE_UNITS else exponent_of(currency)


def to_major(minor: int, currency: str | None) -> str:
    """An amount in minor units as major units: (12345, "USD") -> "123.45", (1000, "JPY") -> "1000".

    The result is plain decimal text, because a JSON number may be read as a float on its way to `numeric`.
    """
    return format(Decimal(minor).scaleb(-exponent_of(currency)), "f")


def read_amount(amount: object) -> Decimal | None:
    """An amount in major units; None where the value is no number, not finite, or has too many digits for money."""
    try:
        value = Decimal(str(amount))
    except InvalidOperation:
        return None
    return value if value.is_finite() and -_MOST_DIGITS <= value.adjusted() <= _MOST_DIGITS else None


def format_amount(amount: object, currency: object) -> str:
    """An amount in major units for people: ("1234.5", "USD") -> "1,234.50 USD", ("100", "ISK") -> "100 ISK".

    An amount with more decimals than its currency has keeps all of them. A value that is no amount is shown as it came,
    because an operator must see it.
    """
    if amount is None:
        return "-"
    code = None if currency is None else str(currency)
    value = read_amount(amount)
    if value is None:
        return f"{amount} {code or '?'}"
    return f"{value:,.{_decimals_shown(value, code)}f} {code or '?'}"


def plain_amount(amount: object, currency: object) -> str:
    """The same amount for a spreadsheet: ("1234.5", "USD") -> "1234.50". What is no amount is empty."""
    value = read_amount(amount)
    return "" if value is None else f"{value:.{_decimals_shown(value, None if currency is None else str(currency))}f}"


def _decimals_shown(value: Decimal, code: str | None) -> int:
    fraction = f"{value:f}".partition(".")[2].rstrip("0")
    return max(decimals_of(code), len(fraction))
