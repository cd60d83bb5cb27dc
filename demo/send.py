"""`python -m demo.send`: sign a `checkout.session.completed` and send it to a running relay."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from testkit.stripe_events import completed, deliver, encode


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines; blank ones and comments are skipped."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Send one event; the exit status is 0 for an answer of 2xx, 1 for any other, 2 where it could not be sent."""
    parser = argparse.ArgumentParser(prog="python -m demo.send", description=__doc__)
    parser.add_argument("--group", required=True, metavar="UUID", help="the order group that it names")
    parser.add_argument("--amount", required=True, type=int, metavar="MINOR", help="in minor units, such as cents")
    parser.add_argument("--currency", default="usd", help="default: %(default)s")
    parser.add_argument("--url", help="the webhook's address; default: RELAY_WEBHOOK_URL of the environment or file")
    parser.add_argument("--env-file", type=Path, metavar="PATH", help="a file with STRIPE_WEBHOOK_SECRET")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="send the same event so often")
    options = parser.parse_args(arguments)
    settings = {**os.environ, **(read_env_file(options.env_file) if options.env_file else {})}
    url = options.url or settings.get("RELAY_WEBHOOK_URL")
    secret = settings.get("STRIPE_WEBHOOK_SECRET", "").split(",")[0].strip()
    if not url or not secret:
        parser.error("needs RELAY_WEBHOOK_URL (or --url) and STRIPE_WEBHOOK_SECRET, from the environment or --env-file")
    event = completed(options.group, amount_total=options.amount, currency=options.currency)
    body = encode(event)
    status = 0
    for _ in range(options.times):
        try:
            answer = deliver(url, body, secret=secret)
        except (httpx.HTTPError, ValueError) as error:
            print(f"{url}: no answer: {type(error).__name__}: {error}", file=sys.stderr)
            return 2
        print(answer.status, json.dumps(answer.body))
        status = max(status, 0 if answer.status < 300 else 1)
    return status


if __name__ == "__main__":
    sys.exit(main())
