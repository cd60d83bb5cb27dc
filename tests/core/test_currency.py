"""Minor to major units by Stripe's table, exactly, and amounts as people read them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.currency import EXPONENTS, code_of, format_amount, to_major

ZERO_DECIMAL = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split()
THREE_DECIMAL = "BHD JOD KWD OMR TND".split()


def test_the_exponents_are_stripes() -> None:
    assert {code for code, exponent in EXPONENTS.items() if exponent == 0} == set(ZERO_DECIMAL)
    assert {code for code, exponent in EXPONENTS.items() if exponent == 3} == set(THREE_DECIMAL)
    assert set(EXPONENTS.values()) == {0, 2, 3}


@pytest.mark.parametrize("code", ["ISK", "UGX", "HUF", "TWD", "USD", "EUR"])
def test_locale_libraries_disagree_here_but_stripe_has_two_decimals(code: str) -> None:
    assert EXPONENTS[code] == 2


@pytest.mark.parametrize(
    ("minor", "code", "major"),
    [
        (12345, "USD", "123.45"),
        (5, "USD", "0.05"),
        (0, "USD", "0.00"),
        (1000, "JPY", "1000"),
        (1235, "KWD", "1.235"),
        (100, "ISK", "1.00"),
        (150, "UGX", "1.50"),
        (2**63 - 1, "USD", "92233720368547758.07"),
        (12345, "XXX", "123.45"),
        (12345, None, "123.45"),
    ],
)
def test_amounts_are_normalised_in_plain_notation(minor: int, code: str | None, major: str) -> None:
    assert to_major(minor, code) == major


@given(minor=st.integers(0, 2**63 - 1), code=st.sampled_from(sorted(EXPONENTS)))
def test_no_minor_unit_is_lost_or_made(minor: int, code: str) -> None:
    major = to_major(minor, code)

    assert Decimal(major) * 10 ** EXPONENTS[code] == minor
    assert "E" not in major


@pytest.mark.parametrize(("value", "code"), [("usd", "USD"), (" Eur ", "EUR"), ("xyz", "XYZ")])
def test_a_code_is_trimmed_and_upper_case(value: str, code: str) -> None:
    assert code_of(value) == code


@pytest.mark.parametrize("value", [None, 5, True, "", "  ", ["usd"], "u\x00d", "u\u017fd", "\ud800", "x" * 17])
def test_what_is_no_code_is_none(value: object) -> None:
    assert code_of(value) is None


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("1234.5", "USD", "1,234.50 USD"),
        ("1000", "JPY", "1,000 JPY"),
        ("1.2", "KWD", "1.200 KWD"),
        ("100", "ISK", "100 ISK"),
        ("100.5", "ISK", "100.5 ISK"),
        ("0.001", "USD", "0.001 USD"),
        ("999999999999999.99", "USD", "999,999,999,999,999.99 USD"),
        ("0", "USD", "0.00 USD"),
        ("-3", "EUR", "-3.00 EUR"),
        (None, "USD", "-"),
        ("5", None, "5.00 ?"),
        ("5", "XXX", "5.00 XXX"),
        (5, 7, "5.00 7"),
        ("99999999999999999999999999999999.999", "USD", "99,999,999,999,999,999,999,999,999,999,999.999 USD"),
        ("NaN", "USD", "NaN USD"),
        ("-Infinity", "USD", "-Infinity USD"),
        ("1e999999", "USD", "1e999999 USD"),
        ("1e-999999", "USD", "1e-999999 USD"),
        ("ten", "USD", "ten USD"),
        ({"a": 1}, ["USD"], "{'a': 1} ['USD']"),
    ],
)
def test_amounts_have_their_currencys_decimals_and_lose_none(amount: object, currency: object, shown: str) -> None:
    assert format_amount(amount, currency) == shown
