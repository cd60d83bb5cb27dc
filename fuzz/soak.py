"""`python -m fuzz.soak`: honest and hostile requests by the million, and the relay's memory while they come.

Exit status 0 when every answer was right and memory stayed flat, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
from collections.abc import Sequence

from fuzz.case import request
from testkit.data_api_server import DataApi
from testkit.relay_log import faults_in
from testkit.relay_process import RelayProcess, relay_serve
from testkit.relay_under_test import environ
from testkit.stripe_events import WEBHOOK_SECRET, completed, sign
from testkit.wire import connected

MILLION = 1_000_000
CONNECTIONS = 8
PIPELINE = 25
SAMPLES = 20
# The first samples fill caches and pools. Between the most of the second quarter and the most of the last there may be
# fragments of this size, and no more; a leak of 100 bytes a request is 50 MiB in a million.
WARM_SAMPLES = SAMPLES // 4
FLAT_BYTES = 12 * 2**20
# (share, what must come)
KINDS = ((0.6, b"applied"), (0.2, b"invalid_signature"), (0.1, b"event_type"), (0.1, b"missing_signature"))


def _one(rng: random.Random) -> tuple[bytes, bytes]:
    """A request, and what its answer must say."""
    ((_, word),) = rng.choices(KINDS, [share for share, _ in KINDS])
    event = completed()
    if word == b"event_type":
        event["type"] = "customer.created"
    body = json.dumps(event).encode()
    secret = WEBHOOK_SECRET if word != b"invalid_signature" else f"{WEBHOOK_SECRET}x"
    signature = b"Stripe-Signature: " + sign(body, secret).encode()
    return request(body, *([] if word == b"missing_signature" else [signature])), word


async def _send(relay: RelayProcess, count: int, rng: random.Random) -> list[str]:
    """So many requests, a new connection for each handful; returns what was wrong."""
    wrong = []
    for _ in range(count // PIPELINE):
        pairs = [_one(rng) for _ in range(PIPELINE)]
        async with connected(relay.port) as wire:
            for content, _ in pairs:
                wire.send(content)
            await wire.flush()
            for _, word in pairs:
                answer = await wire.answer()
                if answer is None or word not in answer.body:
                    wrong.append(f"{answer} instead of {word!r}")
    return wrong


async def soak(count: int, seed: int) -> tuple[list[int], list[str]]:
    """Send; returns the memory in bytes after each part, and what was wrong."""
    rng = random.Random(seed)
    sizes, wrong = [], []
    async with DataApi(is_watched=True).listening() as data_api, relay_serve(environ(data_api.url)) as relay:
        for number in range(SAMPLES):
            parts = (_send(relay, count // SAMPLES // CONNECTIONS, rng) for _ in range(CONNECTIONS))
            for part in await asyncio.gather(*parts):
                wrong += part
            data_api.calls.clear()
            wrong += faults_in(relay.log)
            os.truncate(relay.log, 0)  # a million requests write hundreds of megabytes
            sizes.append(relay.resident_bytes)
            sys.stderr.write(f"soak: {count * (number + 1) // SAMPLES:,} requests, {sizes[-1] / 2**20:.1f} MiB\n")
    return sizes, wrong


def grown(sizes: Sequence[int]) -> int:
    """By how many bytes the relay has grown since it was warm."""
    return max(sizes[-WARM_SAMPLES:]) - max(sizes[WARM_SAMPLES : 2 * WARM_SAMPLES])


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=MILLION, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sizes, wrong = asyncio.run(soak(options.requests, options.seed))
    for each in wrong[:20]:
        sys.stdout.write(f"PROBLEM {each}\n")
    flat = grown(sizes) < FLAT_BYTES
    sys.stdout.write(f"memory grew by {grown(sizes) / 2**20:.1f} MiB when warm: {'flat' if flat else 'NOT FLAT'}\n")
    return 0 if flat and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
