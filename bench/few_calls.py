"""The relay with so many quick calls: `python -m bench.few_calls NUMBER`. With 64 every payment goes alone."""

from __future__ import annotations

import sys

from relay import cli
from relay.data_api import client

if __name__ == "__main__":
    client.FEW_CALLS = int(sys.argv[1])  # type: ignore[misc]  # a constant, but for this measurement
    sys.exit(cli.main(["serve"]))
