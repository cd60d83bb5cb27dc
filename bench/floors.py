"""What the relay's parts cost by themselves, in microseconds of processor time: the sum is the relay's floor.

`python -m bench.floors URL` against a Data API; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from stripe import WebhookSignature

from bench.deliveries import Deliveries, payload_of
from bench.environment import settings
from relay.config import Settings
from relay.data_api import client
from relay.metrics import Metrics
from relay.server.serving import new_event_loop, settle_memory
from testkit.stripe_events import sign

CALLERS = 16
WARM_UP_CALLS = 3_000
CALLS = 6_000
TIMES = 20_000


async def _cpu_microseconds(call: Callable[[], Awaitable[object]], calls: int) -> float:
    """Of each call, with so many at once as the callers are."""
    left = calls

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    started = time.process_time()
    await asyncio.gather(*(work() for _ in range(CALLERS)))
    return (time.process_time() - started) / calls * 1e6


async def bare_rpc(supabase_url: str) -> float:
    """The shipped client's call of the function, without the relay's bounds, retries and reading of the verdict."""
    environment = settings(supabase_url)
    parameters = json.loads(payload_of(Deliveries("none", host="none").body()))
    async with client.connect(Settings.from_env(environment, now=time.time()), Metrics()) as data_api:
        supabase = data_api._client  # noqa: SLF001  the very client that is shipped

        async def call() -> None:
            await supabase.rpc(client.FUNCTION, parameters).execute()

        await _cpu_microseconds(call, WARM_UP_CALLS)
        return await _cpu_microseconds(call, CALLS)


def verify_and_parse() -> float:
    """`verify_header` of the SDK and `json.loads`."""
    secret = settings("none")["STRIPE_WEBHOOK_SECRET"]
    body = Deliveries(secret, host="none").body()
    header = sign(body, secret)
    started = time.process_time()
    for _ in range(TIMES):
        WebhookSignature.verify_header(body, header, secret, 300)
        json.loads(body)
    return (time.process_time() - started) / TIMES * 1e6


def main() -> None:
    """Measure and print."""
    settle_memory()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        rpc = runner.run(bare_rpc(sys.argv[1]))
    sys.stdout.write(json.dumps({"bare rpc": rpc, "verify and parse": verify_and_parse()}))


if __name__ == "__main__":
    main()
