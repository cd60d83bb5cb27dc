"""`make bench`: one run, its table, its chart.

Without `--keep` the results are only printed; with it they go to bench/results/<date>/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import footprint, function, machine, recipes, results, side_by_side, whole_path
from local_stack.signals import signals_as_interrupt

RESULTS = Path(__file__).with_name("results")
PARTS = ("side_by_side", "whole_path", "function", "start")


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("peers", nargs="*", default=list(recipes.DEFAULT), help="of relay, node, fastapi, next, deno")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--warm-up", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--history", type=int, default=1_000_000, metavar="EVENTS", help="recorded events, at most")
    parser.add_argument("--keep", action="store_true", help="write bench/results/<date>/")
    options = parser.parse_args()
    with signals_as_interrupt(), tempfile.TemporaryDirectory(prefix="bench-") as home:
        run = measure(options, Path(home))
    page = results.markdown(run)
    sys.stdout.write(page)
    if options.keep:
        folder = RESULTS / str(run["date"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.md").write_text(page)
        (folder / "figures.json").write_text(json.dumps(run, indent=1) + "\n")
        if "side_by_side" in run:
            (folder / "chart.svg").write_bytes(results.chart(run))
    return 0


def measure(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """The parts that are asked for, one after the other."""
    run: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), "machine": machine.describe()}
    seconds, rounds = options.seconds, options.rounds
    if "side_by_side" in options.only:
        names = list(dict.fromkeys(["relay", *options.peers]))
        plan = side_by_side.Plan(options.warm_up, seconds, rounds)
        run["side_by_side"] = asyncio.run(side_by_side.compare(names, plan, home))
    if "start" in options.only:
        run["start"] = footprint.starts(home)
    if "whole_path" in options.only:
        run["whole_path"] = asyncio.run(whole_path.follow(rounds, seconds, bursts=10 * rounds, home=home))
    if "function" in options.only:
        run["function"] = function.measure(min(rounds, 3), max(1, round(seconds)), options.history)
    return run


if __name__ == "__main__":
    sys.exit(main())
