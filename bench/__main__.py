"""`make bench`: one run, its table, its chart.

Without `--keep` the results are only printed; with it they go to bench/results/<date>/, beside the parts that were
measured that day and not again.
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

from bench import footprint, function, machine, open_loop, recipes, results, side_by_side, whole_path
from local_stack.signals import signals_as_interrupt

RESULTS = Path(__file__).with_name("results")
PARTS = ("side_by_side", "start", "whole_path", "open_loop", "function")
Run = dict[str, Any]


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
    run: Run = {"date": datetime.now(UTC).date().isoformat(), "machine": machine.describe()}
    folder = RESULTS / str(run["date"])
    figures = folder / "figures.json"
    if options.keep and figures.exists():  # parts that were measured at another hour of the day
        run = json.loads(figures.read_text()) | run
    with signals_as_interrupt(), tempfile.TemporaryDirectory(prefix="bench-") as home:
        for part in options.only:
            run[part] = measure(part, options, Path(home))
            if options.keep:
                folder.mkdir(parents=True, exist_ok=True)
                figures.write_text(json.dumps(run, indent=1) + "\n")
    page = results.markdown(run)
    sys.stdout.write(page)
    if options.keep:
        (folder / "README.md").write_text(page)
        if "side_by_side" in run:
            (folder / "chart.svg").write_bytes(results.chart(run))
    return 0


def measure(part: str, options: argparse.Namespace, home: Path) -> Any:
    """One part's figures."""
    seconds, rounds = options.seconds, options.rounds
    names = list(dict.fromkeys(["relay", *options.peers]))
    if part == "side_by_side":
        return asyncio.run(side_by_side.compare(names, side_by_side.Plan(options.warm_up, seconds, rounds), home))
    if part == "start":
        return footprint.starts(home)
    if part == "whole_path":
        return asyncio.run(whole_path.follow(rounds, seconds, bursts=10 * rounds, home=home))
    if part == "open_loop":
        return asyncio.run(open_loop.follow(names, rounds, seconds, home))
    return function.measure(min(rounds, 3), max(1, round(seconds)), options.history)


if __name__ == "__main__":
    sys.exit(main())
