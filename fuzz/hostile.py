"""Requests of people who do not have the webhook's secret, or who have seen a delivery pass by.

Some carry a signature that is good: those are refused for what else is wrong with them (method, encoding,
size, path), before the signature counts.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from fuzz.case import Case, request
from relay.server.deliveries import MAX_BODY_BYTES
from relay.server.webhook import PATH
from testkit.stripe_events import digest, sign

SIGNATURE = b"Stripe-Signature: "
# A header may hold these; other control characters end the connection with a 400.
HEADER_BYTES = bytes([9, *range(32, 127), *range(128, 256)])
KNOWN_METHODS = (b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"PROPFIND", b"HEAD")
OTHER_METHODS = (b"BREW", b"post", b"POST\t", b"", b"G\x00T", b"CONNECT", b"PRI", b"A" * 5000)
# Served without a signature, by intention.
PUBLIC = ("/healthz", "/readyz", "/metrics")
ENCODINGS = (b"gzip", b"GZIP", b"br", b"deflate", b"zstd", b"x", b"identity, gzip", b"gzip, identity", b"\xff", b"aws")
ODD_HEADERS = (
    b"X-Forwarded-For: 127.0.0.1",
    b"Transfer-Encoding-: chunked",
    b"Cookie: " + b"a=b; " * 200,
    b"Authorization: Bearer x",
    b"Content-Type: multipart/form-data; boundary=\xff",
    b"Content-Type: application/json; charset=utf-16",
    b"Content-Type: application/x-www-form-urlencoded",
    b"X-HTTP-Method-Override: GET",
    b"Range: bytes=0-0",
    b"If-None-Match: *",
    b"Content-MD5: x",
    b"Forwarded: for=_x",
)


@dataclass(frozen=True, slots=True)
class Hostile:
    """Makes cases for a relay; `now` is in seconds since 1970, `tolerance` what the relay allows around it."""

    secret: str
    now: int
    tolerance: int
    true_body: bytes
    """A real event's, which the relay would reconcile if it came properly signed."""

    def case(self, rng: random.Random) -> Case:
        """The next request."""
        (make,) = rng.choices([maker for maker, _ in MAKERS], [weight for _, weight in MAKERS])
        return make(self, rng)

    def good(self, body: bytes) -> bytes:
        """The header that makes the body count."""
        return SIGNATURE + sign(body, self.secret, at=self.now).encode()

    def body(self, rng: random.Random) -> bytes:
        """Something that came as a body."""
        return rng.choice(
            (
                lambda: self.true_body,
                lambda: b"",
                lambda: b"{}",
                lambda: rng.randbytes(rng.randrange(200)),
                lambda: self.true_body[: rng.randrange(len(self.true_body))],
                lambda: _flip(rng, self.true_body),
                lambda: b"[" * rng.randrange(2000),
                lambda: json.dumps({"id": "evt_1", "type": rng.random()}).encode(),
            )
        )()

    # whole requests that keep their connection

    def forged(self, rng: random.Random) -> Case:
        """A POST whose signature is anything but good."""
        body = self.body(rng)
        headers = [SIGNATURE + self._signature(rng, body) for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 3)))]
        headers += rng.sample(ODD_HEADERS, rng.choice((0, 0, 0, 1, 3)))
        rng.shuffle(headers)
        # aiohttp takes a second Content-Type for broken HTTP, and closes.
        alone = sum(header.startswith(b"Content-Type") for header in headers) > 1
        return Case("forged", request(body, *headers), alone=alone)

    def tampered(self, rng: random.Random) -> Case:
        """A delivery that was seen passing by, and changed in one place."""
        signature = sign(self.true_body, self.secret, at=self.now)
        if rng.random() < 0.5:
            body = _flip(rng, self.true_body)
            return Case("tampered", request(body, SIGNATURE + signature.encode()))
        place = rng.randrange(len(signature.rstrip()))
        changed = signature[:place] + chr(rng.choice([*range(33, 127)])) + signature[place + 1 :]
        # A changed key or comma may leave the one v1 that counts as it was.
        if sorted(changed.split(",")) == sorted(signature.split(",")):
            changed = "v0" + signature[2:]
        return Case("tampered", request(self.true_body, SIGNATURE + changed.encode()))

    def replayed(self, rng: random.Random) -> Case:
        """A delivery that was captured, sent again too late (or, by a wrong clock, too early)."""
        off = (self.tolerance + rng.choice((60, 3600, 10**6, 10**9))) * rng.choice((-1, 1))
        signature = sign(self.true_body, self.secret, at=self.now + off)
        return Case("replayed", request(self.true_body, SIGNATURE + signature.encode()))

    def doubled(self, rng: random.Random) -> Case:
        """Two signature headers, one of them good."""
        headers = [self.good(self.true_body), SIGNATURE + rng.choice((b"", b"x", self._signature(rng, b"")))]
        if rng.random() < 0.3:
            headers[1] = headers[0]
        rng.shuffle(headers)
        return Case("doubled", request(self.true_body, *headers))

    def encoded(self, rng: random.Random) -> Case:
        """A good signature over a compressed body."""
        body = gzip.compress(self.true_body, 1) if rng.random() < 0.5 else self.true_body
        return Case("encoded", request(body, self.good(body), b"Content-Encoding: " + rng.choice(ENCODINGS)))

    def method(self, rng: random.Random) -> Case:
        """A good signature, another verb."""
        method = rng.choice(KNOWN_METHODS)
        return Case(
            "method",
            request(self.true_body, self.good(self.true_body), method=method),
            alone=True,
            bodiless=method == b"HEAD",
        )

    def path(self, rng: random.Random) -> Case:
        """A good signature, another address."""
        target = self._target(rng)
        bare = target.split(b"?")[0].split(b"#")[0].decode("latin-1")
        method = b"POST"
        on_route = bare.removesuffix("/") == PATH
        if on_route:
            method = b"PUT"
        elif bare not in PUBLIC and rng.random() < 0.3:
            method = rng.choice((b"GET", b"PUT", b"OPTIONS"))
        return Case(
            "path",
            request(self.true_body, self.good(self.true_body), method=method, target=target),
            alone=True,
            on_route=on_route,
        )

    def chunked(self, rng: random.Random) -> Case:
        """A forged body in pieces."""
        body, content = self.body(rng), bytearray()
        while body:
            size = rng.randrange(1, 400)
            piece, body = body[:size], body[size:]
            extension = rng.choice((b"", b"", b";a", b";a=b", b';a="b c"'))
            content += b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
        content += b"0\r\n" + rng.choice((b"", b"", b"X-Trailer: x\r\n", b"Stripe-Signature: t=1,v1=x\r\n")) + b"\r\n"
        signature = SIGNATURE + self._signature(rng, body)
        head = _head(signature, b"Transfer-Encoding: " + rng.choice((b"chunked", b"Chunked")))
        return Case("chunked", head + bytes(content), alone=True)

    # requests that may end their connection

    def oversize(self, rng: random.Random) -> Case:
        """More than a megabyte, announced or really sent, properly signed."""
        if rng.random() < 0.9:
            length = b"%d" % rng.choice((MAX_BODY_BYTES + 1, 10**7, 2**31, 2**53, 2**63 - 1))
            return Case("oversize", request(b"{", self.good(b"{"), length=length), alone=True)
        body = self.true_body + b" " * (MAX_BODY_BYTES + 1 - len(self.true_body))
        if rng.random() < 0.5:
            return Case("oversize", request(body, self.good(body)), alone=True)
        pieces = b"".join(b"10000\r\n%b\r\n" % body[at : at + 65536].ljust(65536) for at in range(0, len(body), 65536))
        return Case(
            "oversize", _head(self.good(body), b"Transfer-Encoding: chunked") + pieces + b"0\r\n\r\n", alone=True
        )

    def framing(self, rng: random.Random) -> Case:
        """Heads and bodies that break HTTP's own rules."""
        signature = SIGNATURE + self._signature(rng, b"")
        head, tail = rng.choice(
            (
                lambda: (_head(b"Content-Length: " + rng.choice(BAD_LENGTHS)), b"{}"),
                lambda: (_head(b"Content-Length: 2", b"Content-Length: " + rng.choice((b"2", b"3", b"0"))), b"{}"),
                lambda: (_head(b"Content-Length: 2", b"Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n\r\n"),
                lambda: (_head(b"Transfer-Encoding: " + rng.choice(BAD_CODINGS)), b"2\r\n{}\r\n0\r\n\r\n"),
                lambda: (_head(b"Transfer-Encoding: chunked"), rng.choice(BAD_CHUNKS)),
                lambda: (_head(rng.choice(BAD_LINES)), b""),
                lambda: (_head(*(b"X-%d: y" % number for number in range(rng.randrange(50, 2000)))), b""),
                lambda: (_head(SIGNATURE + b"t=" + b"1" * rng.randrange(4000, 30_000)), b""),
                lambda: (_head(SIGNATURE + b"v1=," * rng.randrange(1000, 8000)), b""),
                lambda: (request(b"", signature, version=rng.choice(BAD_VERSIONS)), b""),
                lambda: (request(b"", signature, method=rng.choice(OTHER_METHODS)), b""),
                lambda: (request(b"", signature).replace(b"\r\n", rng.choice((b"\n", b"\r", b"\n\r"))), b""),
                lambda: (request(b"", signature, b"Connection: " + rng.choice(CONNECTIONS), b"Upgrade: h2c"), b"x"),
                lambda: (request(b"{}", signature, b"Expect: " + rng.choice(EXPECTATIONS)), b""),
                lambda: (request(b"", signature, target=PATH.encode() + b"?" + b"a" * rng.randrange(9000)), b""),
            )
        )()
        return Case("framing", head + tail, alone=True, whole=False, on_route=False)

    def garbage(self, rng: random.Random) -> Case:
        """Bytes of another protocol, or of none."""
        content = rng.choice(
            (
                lambda: rng.randbytes(rng.randrange(1, 300)),
                lambda: b"\x16\x03\x01" + rng.randbytes(100),
                lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                lambda: b"\r\n" * rng.randrange(1, 50),
                lambda: _flip(rng, request(b"{}", SIGNATURE + b"t=1,v1=x")),
                lambda: _flip(rng, _flip(rng, _flip(rng, request(b"", SIGNATURE + b"t=1,v1=x")))),
                lambda: b"SSH-2.0-OpenSSH_9.2\r\n",
                lambda: b"EHLO relay\r\nMAIL FROM:<x@example.test>\r\n",
                lambda: request(b"", SIGNATURE + b"t=1\x00,v1=x\x7f"),
            )
        )()
        return Case("garbage", content, alone=True, whole=False, on_route=False)

    def abandoned(self, rng: random.Random) -> Case:
        """A sender who hangs up before the end, of the head or of a body that is properly signed."""
        whole = request(self.true_body, self.good(self.true_body))
        return Case("abandoned", whole[: rng.randrange(len(whole) - 1)], alone=True, whole=False)

    def smuggled(self, rng: random.Random) -> Case:
        """A second request hidden in the first one's body, for a server that reads lengths another way."""
        inner = request(b"", SIGNATURE + b"t=1,v1=x", method=b"GET", target=rng.choice((b"/metrics", PATH.encode())))
        signature = SIGNATURE + self._signature(rng, inner)
        return Case("smuggled", request(inner, signature), alone=True)

    # parts

    def _signature(self, rng: random.Random, body: bytes) -> bytes:
        """A header value under which no body counts."""
        other = "whsec_" + "0" * 32
        right = digest(body, self.secret, at=self.now).encode()
        t = b"%d" % self.now
        return rng.choice(
            (
                lambda: b"",
                lambda: b" \t ",
                lambda: bytes(rng.choices(HEADER_BYTES, k=rng.randrange(120))),
                lambda: sign(body, other, at=self.now).encode(),
                lambda: sign(body, "", at=self.now).encode(),
                lambda: sign(body, "whsec_", at=self.now).encode(),
                lambda: b"t=%b,v0=%b" % (t, right),
                lambda: b"t=%b,v1=%b" % (t, right[: rng.randrange(64)]),
                lambda: b"t=%b,t=%b,v1=%b" % (t, t, right),
                lambda: b",".join([b"t=%b" % t] * rng.randrange(2, 60) + [b"v1=" + right]),
                lambda: b"v1=%b" % right,
                lambda: b"t=%b" % t,
                lambda: b"t=%b, v1=%b" % (t, right),
                lambda: b"T=%b,V1=%b" % (t, right),
                lambda: b"t=%b;v1=%b" % (t, right),
                lambda: b"t=%b,v1=" % t + b",v1=".join(rng.randbytes(32).hex().encode() for _ in range(50)),
                lambda: b"t=%b,v1=%b" % (rng.choice(BAD_TIMES), right),
                lambda: b"t=%b,v1=%b\xe9" % (t, right),
                lambda: b"t=%b,v1=\xc3\xa9" % t,
                lambda: b'"t=%b,v1=%b"' % (t, right),
                lambda: b",".join(rng.choices((b"t=1", b"v1=", b"v0=x", b"", b"=", b"t", b"t==", b"v1=\xff"), k=6)),
            )
        )()

    def _target(self, rng: random.Random) -> bytes:
        """An address, mostly a near miss of the webhook's."""
        path = PATH.encode()
        return rng.choice(
            (
                lambda: path + rng.choice((b"/", b"//", b"/x", b".", b"%00", b"%2f", b";x", b"%20", b"\\")),
                lambda: rng.choice((b"/", b"//", b"/.", b"/./", b"/../", b"/x/..")) + path.lstrip(b"/"),
                lambda: path.upper(),
                lambda: path.replace(b"/", b"//", 1),
                lambda: path + b"?" + rng.choice((b"x=1", b"%", b"x=%zz", b"=&=")),
                lambda: quote(bytes(rng.choices(HEADER_BYTES, k=20)), safe="/").encode().join((b"/", b"")),
                lambda: b"/rest/v1/rpc/reconcile_order_group_payment",
                lambda: b"/.env",
                lambda: b"/" + b"a" * rng.randrange(1, 7000),
                lambda: rng.choice(PUBLIC).encode(),
            )
        )()


BAD_LENGTHS = (b"-1", b"+2", b"0x2", b"2 2", b"2,2", b"", b"x", b"2.0", b"9" * 30, b"\xb2", b"1e3", b" ", b"1_0")
BAD_CODINGS = (b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"x", b"", b"\xffchunked", b"chunked;q=1")
BAD_CHUNKS = (
    b"zz\r\n{}\r\n0\r\n\r\n",
    b"-2\r\n{}\r\n0\r\n\r\n",
    b"2\r\n{}0\r\n\r\n",
    b"ffffffffffffffffff\r\n{}\r\n",
    b"2;" + b"a" * 20_000 + b"\r\n{}\r\n0\r\n\r\n",
    b"2\n{}\n0\n\n",
    b"02\r\n{}\r\n00\r\n\r\n",
    b"\r\n",
    b"2\r\n{}\r\n0\r\nX" + b"x" * 20_000,
    b"0x2\r\n{}\r\n0\r\n\r\n",
    b"2 \r\n{}\r\n0\r\n\r\n",
    b"1\r\n{\r\n",
)
BAD_LINES = (
    b"NoColon",
    b": no name",
    b"Space : before",
    b"X: folded\r\n onto the next",
    b" leading: blank",
    b"X: nul\x00",
    b"X: bell\x07",
    b"X\xff: y",
    b"Stripe-Signature",
    b"Host: another",
    b"X: " + b"y" * 40_000,
    b"(x): y",
    b"X: bare\rreturn",
    b"X: bare\nfeed",
)
BAD_VERSIONS = (
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.1 x",
    b"HTTP/9.9",
    b"http/1.1",
    b"",
    b"HTTP/1,1",
    b"ICE/1.0",
)
BAD_TIMES = (b"", b"0", b"-1", b"+1", b"1_0", b"1.5", b"1e9", b"NaN", b" 1", b"9" * 4400, b"\xd9\xa1", b"0x10", b"inf")
CONNECTIONS = (b"Upgrade", b"close", b"keep-alive, Upgrade", b"x")
EXPECTATIONS = (b"100-continue", b"200-ok", b"\xff", b"", b"100-continue, x")


def _head(*headers: bytes) -> bytes:
    """A POST's head without a length."""
    return b"\r\n".join([b"POST %b HTTP/1.1" % PATH.encode(), b"Host: relay", *headers, b"", b""])


def _flip(rng: random.Random, content: bytes) -> bytes:
    """One byte is another one."""
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ rng.randrange(1, 256)]) + content[place + 1 :]


MAKERS: tuple[tuple[Callable[[Hostile, random.Random], Case], int], ...] = (
    (Hostile.forged, 50),
    (Hostile.tampered, 8),
    (Hostile.replayed, 3),
    (Hostile.doubled, 4),
    (Hostile.encoded, 4),
    (Hostile.method, 4),
    (Hostile.path, 6),
    (Hostile.chunked, 4),
    (Hostile.oversize, 1),
    (Hostile.framing, 9),
    (Hostile.garbage, 4),
    (Hostile.abandoned, 2),
    (Hostile.smuggled, 1),
)
