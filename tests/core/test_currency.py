"""Minor to major units by Stripe's table, exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.currency import EXPONENTS, code_of, to_major

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
