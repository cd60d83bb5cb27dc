"""`make shop`: the sample shop to click through, on a local stack, with pages that stand in for Stripe's."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local_stack.__main__ import port_number
from local_stack.errors import StackError
from local_stack.postgres import require_free_port
from local_stack.signals import signals_as_interrupt
from local_stack.stack import ANOTHER_PORT, Stack
from testkit.storefront import open_storefront


async def sell(stack: Stack, port: int | None) -> None:
    """Keep the shop open until Ctrl-C."""
    closed = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, closed.set)
    with tempfile.TemporaryDirectory(prefix="storefront-") as folder:
        async with open_storefront(stack, Path(folder), port=port) as shop:
            print(f"\nThe shop:      {shop.url}/")
            print(f"The bank:      {shop.stripe.url}/c/bank    where a bank debit succeeds or fails, days later")
            print(f"The relay log: {shop.relay.log}")
            print("\nIts pay page stands in for Stripe's; no money moves. Ctrl-C ends everything.", flush=True)
            await closed.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after Ctrl-C; 2 where a part is missing or did not start."""
    parser = argparse.ArgumentParser(prog="python -m demo.storefront", description=__doc__)
    parser.add_argument("--port", type=port_number, metavar="N", help="the shop's port; default: a free one")
    options = parser.parse_args(arguments)
    try:
        if options.port:
            require_free_port(options.port, remedy=ANOTHER_PORT)
        with signals_as_interrupt(), Stack() as stack:
            asyncio.run(sell(stack, options.port))
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
    except StackError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
