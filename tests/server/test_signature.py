"""A signature proves that Stripe sent these bytes just now; everything else is refused, and nothing raises.

Whatever is taken here, stripe-python and stripe-node take too: the first decides, the second is asked in each case.
"""

import hashlib
import hmac
import re
import secrets
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import SignatureVerificationError, WebhookSignature

from relay.core.errors import InvalidSignature, MissingSignature, Refused, TimestampOutsideTolerance
from relay.server import signature
from relay.server.signature import Verified, verify
from tests.server import stripe_node

NOW = 1_795_400_000
SECRET = f"whsec_{secrets.token_hex(16)}"
OTHER = f"whsec_{secrets.token_hex(16)}"
NO_TEXT = b'{"id": "\xff"}'
BODY = '{"id": "evt_1", "name": "Žofie"}'.encode()


def mac(body: bytes = BODY, *, secret: str = SECRET, at: object = NOW) -> str:
    """Stripe's HMAC, by itself."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def check(
    headers: str | Sequence[str], *, body: bytes = BODY, keys: Sequence[str] = (SECRET,), now: float = NOW
) -> Verified:
    values = [headers] if isinstance(headers, str) else headers
    verified = verify(body, values, secrets=keys, now=now, tolerance=300)
    (header,) = values
    secret = keys[verified.secret_position - 1]
    # stripe-node alone drops a byte order mark before it looks at the signature; such a body is no JSON either way.
    if not body.startswith(BOM_UTF8):
        assert stripe_node.accepts(body, header, secret=secret, now=now, tolerance=300)
    return verified


def test_a_good_signature_gives_the_text_back() -> None:
    assert check(f"t={NOW},v1={mac()}") == Verified(BODY.decode(), 1)


@pytest.mark.parametrize("headers", [[], [""], ["  \t"], ["", " "]])
def test_no_or_a_blank_header_is_missing(headers: list[str]) -> None:
    with pytest.raises(MissingSignature):
        check(headers)


@pytest.mark.parametrize(
    "header",
    [
        "garbage",
        "t=,v1=",
        f"t={NOW}",
        f"v1={mac()}",
        f"t={NOW},v0={mac()}",
        f"t={NOW},v2={mac()}",
        f"t={NOW},v1={mac()[:-1]}",
        f"t={NOW},v1={mac().upper()}",
        f"t={NOW},v1={mac(secret='')}",
        f"t={NOW},v1={mac(secret=OTHER)}",
        f"t={NOW},v1={mac(BODY + b' ')}",
        f"t={NOW},v1={mac()}é",
        f"t={NOW},v1={mac()},x=\udcff",
        f"t={NOW}\x00,v1={mac()}",
        "t=1,v1=" + "é" * 64,
    ],
)
def test_a_wrong_signature_is_invalid(header: str) -> None:
    with pytest.raises(InvalidSignature):
        check(header)


@pytest.mark.parametrize(
    "stamp",
    [
        f"+{NOW}",
        f" {NOW}",
        f"{NOW} ",
        "1_795_400_000",
        str(NOW).replace("1", "\uff11"),
        f"{NOW}.0",
        f"0{NOW}",
        "-0",
        "0x1",
        "",
        "9" * 5000,
    ],
)
def test_a_timestamp_that_only_python_would_read_is_invalid(stamp: str) -> None:
    with pytest.raises(InvalidSignature):
        check(f"t={stamp},v1={mac()}")


def test_two_timestamps_are_invalid_though_one_of_them_is_signed() -> None:
    for stamps in (f"t={NOW},t=1", f"t=1,t={NOW}", f"t={NOW},t={NOW}"):
        with pytest.raises(InvalidSignature):
            check(f"{stamps},v1={mac()}")


def test_two_headers_are_invalid_though_both_are_good() -> None:
    header = f"t={NOW},v1={mac()}"

    with pytest.raises(InvalidSignature):
        check([header, header])


def test_a_body_that_is_not_utf8_is_invalid_though_it_is_signed() -> None:
    body = b'{"id": "\xff"}'

    with pytest.raises(InvalidSignature):
        check(f"t={NOW},v1={mac(body)}", body=body)


@pytest.mark.parametrize("offset", [-300, -1, 0, 1, 300])
def test_a_timestamp_within_the_tolerance_is_taken_from_either_side(offset: int) -> None:
    assert check(f"t={NOW + offset},v1={mac(at=NOW + offset)}", now=NOW + 0.9)


@pytest.mark.parametrize("stamp", [NOW - 301, NOW + 301, 0, -1, -(10**20), 10**20, 10**400])
def test_a_signed_timestamp_outside_the_tolerance_has_a_reason_of_its_own(stamp: int) -> None:
    with pytest.raises(TimestampOutsideTolerance):
        check(f"t={stamp},v1={mac(at=stamp)}")


def test_an_unsigned_timestamp_outside_the_tolerance_is_just_invalid() -> None:
    with pytest.raises(InvalidSignature):
        check(f"t={NOW - 301},v1={mac()}")


def test_any_v1_of_the_header_counts() -> None:
    for signatures in (f"v1={mac(secret=OTHER)},v1={mac()}", f"v1={mac()},v1=x", f"v0=x,v1={mac()},v2=y"):
        assert check(f"t={NOW},{signatures}")


def test_any_of_several_secrets_counts_and_its_position_is_told() -> None:
    header = f"t={NOW},v1={mac()}"

    assert check(header, keys=[OTHER, SECRET]).secret_position == 2
    assert check(header, keys=[SECRET, OTHER]).secret_position == 1


@given(header=st.text(), body=st.binary())
def test_whatever_comes_unsigned_is_refused_and_never_raises_anything_else(header: str, body: bytes) -> None:
    with pytest.raises(Refused):
        check(header, body=body)


@given(
    header=st.lists(
        st.sampled_from([f"t={NOW}", "t=1", "v1=x", f"v1={mac()}", f"v0={mac()}", "=", ",", "t", "v1", "é", "t=-0"])
    ).map(",".join),
    body=st.sampled_from([b"", b"{}", b"\xff", BODY + b" "]),
)
def test_pieces_of_a_good_header_never_add_up_for_another_body(header: str, body: bytes) -> None:
    with pytest.raises(Refused):
        check(header, body=body)


@given(body=st.text(), stamp=st.integers(0, 10**11), key=st.text("0123456789abcdef", min_size=8))
def test_what_stripe_python_signs_is_taken(body: str, stamp: int, key: str) -> None:
    header = WebhookSignature.generate_signature_header(body, key, stamp)

    assert check(header, body=body.encode(), keys=[key], now=stamp) == Verified(body, 1)


@given(
    items=st.lists(st.sampled_from([f"t={NOW}", "v1=x", f"v1={mac()}", f"v1={mac(at=1)}", f"v0={mac()}", "=", "v1"])),
    body=st.sampled_from([BODY, BODY[:-1], b"{}"]),
)
def test_what_stripe_python_refuses_is_refused(items: list[str], body: bytes) -> None:
    header = ",".join(items)
    try:
        WebhookSignature.verify_header(body, header, SECRET)
    except SignatureVerificationError:
        with pytest.raises(Refused):
            check(header, body=body)


# (header, body) that somebody who has the secret could send: whom of the three it would pass.
DIFFERENCES: dict[str, tuple[str, bytes, tuple[bool, bool, bool]]] = {
    # stripe-python, stripe-node, the relay
    "as Stripe sends it": (f"t={NOW},v1={mac()}", BODY, (True, True, True)),
    "another scheme beside it": (f"t={NOW},v1={mac()},v0=x=y", BODY, (True, True, True)),
    "a future time": (f"t={NOW + 301},v1={mac(at=NOW + 301)}", BODY, (True, True, False)),
    "two times, the first signed": (f"t={NOW},t=1,v1={mac()}", BODY, (True, False, False)),
    "two times, the last signed": (f"t=1,t={NOW},v1={mac()}", BODY, (False, True, False)),
    "a time with a plus": (f"t=+{NOW},v1={mac()}", BODY, (True, True, False)),
    "a time with underscores": (f"t=1_795_400_000,v1={mac()}", BODY, (True, False, False)),
    "a time with a fraction": (f"t={NOW}.9,v1={mac()}", BODY, (False, True, False)),
    "a signature with more behind it": (f"t={NOW},v1={mac()}=x", BODY, (True, True, False)),
    "a time with more behind it": (f"t={NOW}=x,v1={mac()}", BODY, (True, True, False)),
    "an item without a value": (f"t={NOW},v1={mac()},x", BODY, (True, True, False)),
    "a byte order mark": (f"t={NOW},v1={mac(BOM_UTF8 + BODY)}", BOM_UTF8 + BODY, (True, False, True)),
    "no UTF-8": (f"t={NOW},v1={mac(NO_TEXT)}", NO_TEXT, (False, False, False)),
    "another body": (f"t={NOW},v1={mac(b'')}", BODY, (False, False, False)),
}


@pytest.mark.parametrize(("header", "body", "taken"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_of_what_only_one_library_would_take_nothing_passes(
    header: str, body: bytes, taken: tuple[bool, bool, bool]
) -> None:
    by_python, by_relay = True, True
    try:
        WebhookSignature.verify_header(body, header, SECRET)
    except (SignatureVerificationError, UnicodeDecodeError):
        by_python = False
    try:
        check(header, body=body)
    except Refused:
        by_relay = False

    assert (by_python, stripe_node.accepts(body, header, secret=SECRET, now=NOW, tolerance=300), by_relay) == taken


def test_no_part_of_the_relay_computes_a_signature_itself() -> None:
    importing = re.compile(r"^\s*(import|from) hmac", re.MULTILINE)
    files = Path(signature.__file__).parents[1].rglob("*.py")

    assert [path.name for path in files if importing.search(path.read_text())] == []
