"""`make shop`: the sample shop to click through, on a local stack, with pages that stand in for Stripe's."""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_stack.__main__ import env_lines, port_number
from local_stack.errors import StackError
from local_stack.keys import write_private
from local_stack.postgres import require_free_port
from local_stack.signals import signals_as_interrupt
from local_stack.stack import ANOTHER_PORT, Stack
from testkit.storefront import open_storefront


def desk_command(folder: Path, settings: Mapping[str, str]) -> str:
    """Writes the settings into the folder, and returns the command line that opens the desk with them."""
    env_file = folder / "relay.env"
    write_private(env_file, env_lines(settings))
    relay = Path(sys.executable).with_name("relay")
    return shlex.join([str(relay), "desk", "--by", "you", "--env-file", str(env_file)])


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
            print(f"\n# The operators' pages, from another terminal:\n{desk_command(Path(folder), shop.settings)}\n")
            print("`relay explain`, `relay sweep` and the other commands take the same --env-file.")
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
