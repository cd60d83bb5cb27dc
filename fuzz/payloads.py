"""Properly signed and odd: events with every field replaced by what JSON can spell, and bodies that are no events."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from fuzz.case import Case, request
from relay.core.lifecycle import DISPUTE_TYPES, ENDING_TYPES, REFUND_TYPES, STATUSES
from testkit.stripe_events import Json, completed, disputed, ended, refunded, sign

# JSON texts, because Python's own values cannot spell all of them (1e400, -0, a number of 5000 digits, half a surrogate
# pair, NaN).
SCALARS = (
    *"null true false 0 -0 1 -1 0.1 -0.0 1e3 1E400 -1e400 1e-400 0.1e1 100.0".split(),
    *(str(2**power + off) for power in (31, 53, 63, 64) for off in (-1, 0, 1)),
    str(-(2**63)),
    "9" * 31,
    "9" * 5000,
    "-" + "9" * 5000,
    "NaN",
    "Infinity",
    "-Infinity",
)
TEXTS = (
    '""',
    '" "',
    r'"\u0000"',
    r'"a\u0000b"',
    r'"\ud800"',
    r'"\udc00\ud800"',
    r'"\u202e\u2066drowssap"',
    r'"\ufeff"',
    r'"\r\nX: y"',
    r'"\u2028"',
    '"\U0001f4b8"',
    '"' + "x" * 255 + '"',
    '"' + "x" * 256 + '"',
    '"' + "y" * 10_000 + '"',
    '"' + r"\u0000" * 2000 + '"',
    '"null"',
    '"100"',
    '"usd"',
    '"USD"',
    '"JPY"',
    '"KWD"',
    r'"\u212a\u0131sk"',
    '"paid"',
    '"unpaid"',
    '"no_payment_required"',
    '"payment"',
    '"subscription"',
    '"event"',
    '"v2.core.event"',
    '"checkout.session.completed"',
    '"checkout.session.async_payment_succeeded"',
    '"00000000-0000-0000-0000-000000000000"',
    '"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"',
    '"{00000000-0000-0000-0000-000000000001}"',
    '" 00000000-0000-0000-0000-000000000001\\n"',
    '"\'; drop table orders; --"',
    '"../../etc/passwd"',
    '"{{7*7}}${7*7}"',
)
CONTAINERS = (
    "[]",
    "{}",
    "[null]",
    '{"id": null}',
    '{"id": "pi_1"}',
    '{"": ""}',
    '{"order_group_id": []}',
    '[["a"], {}]',
)
MakeEvent = Callable[[random.Random], Json]
# Where an event is replaced: every field, and those that decide more than once.
DEEP = (50, 900, 1100, 20_000)
PLACE = "\N{OBJECT REPLACEMENT CHARACTER}%d\N{OBJECT REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Payloads:
    """Makes signed cases; `now` is in seconds since 1970, `event` makes the events that are spoiled."""

    secret: str
    now: int
    event: MakeEvent

    def case(self, rng: random.Random) -> Case:
        """The next delivery."""
        (make,) = rng.choices([maker for maker, _ in MAKERS], [weight for _, weight in MAKERS])
        body = make(rng, self.event)
        return Case(
            "signed", request(body, b"Stripe-Signature: " + sign(body, self.secret, at=self.now).encode()), signed=True
        )


def odd(rng: random.Random, depth: int = 0) -> str:
    """A JSON text."""
    choice = rng.random()
    if choice < 0.35:
        return rng.choice(SCALARS)
    if choice < 0.75:
        return rng.choice(TEXTS)
    if choice < 0.85 or depth > 2:
        return rng.choice(CONTAINERS)
    if choice < 0.87:
        levels = rng.choice(DEEP)
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        return opening * levels + "0" + closing * levels
    if choice < 0.94:
        return "[" + ", ".join(odd(rng, depth + 1) for _ in range(rng.randrange(4))) + "]"
    return "{" + ", ".join(f"{rng.choice(TEXTS)}: {odd(rng, depth + 1)}" for _ in range(rng.randrange(4))) + "}"


def payment(rng: random.Random) -> Json:
    """A realistic event of a payment, with ids that repeat with the seed, in one of the states of the contract."""
    made = completed(_uuid(rng))
    made["id"] = f"evt_{rng.getrandbits(96):024x}"
    session = made["data"]["object"]
    session |= {"id": f"cs_test_{rng.getrandbits(96):024x}", "payment_intent": f"pi_{rng.getrandbits(96):024x}"}
    if rng.random() < 0.2:
        made["type"] = "checkout.session.async_payment_succeeded"
    if rng.random() < 0.2:
        session["client_reference_id"] = rng.choice((session["metadata"]["order_group_id"], _uuid(rng), "cart-17"))
    if rng.random() < 0.2:
        session["payment_intent"] = {"id": session["payment_intent"], "object": "payment_intent"}
    if rng.random() < 0.2:
        session["currency_conversion"] = {"amount_total": 100, "source_currency": "eur", "fx_rate": "1.1"}
    return made


def lifecycle(rng: random.Random) -> Json:
    """A realistic event of the lifecycle route, with ids that repeat with the seed."""
    kind = rng.choice(sorted(REFUND_TYPES | DISPUTE_TYPES | ENDING_TYPES))
    intent: object = f"pi_{rng.getrandbits(96):024x}"
    if rng.random() < 0.3:
        intent = rng.choice((None, {"id": intent, "object": "payment_intent"}))
    fixed: Json = {"payment_intent": intent, "charge": None}
    if kind in ENDING_TYPES:
        made = ended(_uuid(rng), kind=kind, id=f"cs_test_{rng.getrandbits(96):024x}")
    elif kind in REFUND_TYPES:
        status = rng.choice(sorted(STATUSES["refund"]))
        made = refunded(kind=kind, id=f"re_{rng.getrandbits(96):024x}", status=status, **fixed)
    else:
        status = rng.choice(sorted(STATUSES["dispute"]))
        made = disputed(kind=kind, id=f"dp_{rng.getrandbits(96):024x}", status=status, **fixed)
    return made | {"id": f"evt_{rng.getrandbits(96):024x}"}


def replaced(rng: random.Random, event: MakeEvent) -> bytes:
    """One to three fields are odd, doubled or missing."""
    made = event(rng)
    texts: dict[str, str] = {}
    for number, (owner, key) in enumerate(rng.sample(_fields(made), rng.choice((1, 1, 1, 2, 3)))):
        choice = rng.random()
        if choice < 0.12:
            owner.pop(key, None)
            continue
        mark = PLACE % number
        texts[json.dumps(mark)] = odd(rng)
        owner[key + ("\N{WORD JOINER}" if choice < 0.2 else "")] = mark
    body = json.dumps(made)
    for mark, text in texts.items():
        body = body.replace(mark, text)
    # A key with a word joiner becomes the same key a second time: the last one counts.
    return _encoded(body.replace(r"\u2060", ""))


def no_event(rng: random.Random, _: MakeEvent) -> bytes:
    """Signed, but not even an object, or not even JSON."""
    return _encoded(
        rng.choice((odd(rng), odd(rng), "", " ", "{", "}", "[1,]", "{'id': 1}", "\ufeff{}", "{} {}", "//", "nul"))
    )


def broken(rng: random.Random, event: MakeEvent) -> bytes:
    """A real event with a byte changed, or cut off."""
    body = bytearray(json.dumps(event(rng)).encode())
    if rng.random() < 0.5:
        return bytes(body[: rng.randrange(len(body))])
    body[rng.randrange(len(body))] ^= rng.randrange(1, 256)
    return bytes(body)


def other_encoding(rng: random.Random, event: MakeEvent) -> bytes:
    """A real event in bytes that are no UTF-8, or that begin with a mark."""
    text = json.dumps(event(rng))
    return rng.choice((text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(), text.encode() + b"\xff", b"\xc0\x80"))


def another_type(rng: random.Random, _: MakeEvent) -> bytes:
    """An event that neither route is for, with anything in it."""
    kind = rng.choice(("customer.created", "charge.refunded", "v1.billing.meter.error_report_triggered", ""))
    text = json.dumps({"id": f"evt_{rng.getrandbits(96):024x}", "type": kind, "data": PLACE % 0})
    return _encoded(text.replace(json.dumps(PLACE % 0), odd(rng)))


def untouched(rng: random.Random, event: MakeEvent) -> bytes:
    """A real event as it is."""
    return json.dumps(event(rng)).encode()


def _fields(made: Json) -> list[tuple[Json, str]]:
    """Every field of the event, its session, and the objects in it that are read."""
    session = made["data"]["object"]
    owners = [made, made["data"], *[session] * 3, session["metadata"], session["metadata"]]
    owners += [value for value in session.values() if isinstance(value, dict)]
    return [(owner, key) for owner in owners for key in owner]


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


MAKERS: tuple[tuple[Callable[[random.Random, MakeEvent], bytes], int], ...] = (
    (replaced, 80),
    (no_event, 6),
    (broken, 5),
    (other_encoding, 2),
    (another_type, 4),
    (untouched, 3),
)
