"""`python -m fuzz`: fire at a relay; exit status 0 when nothing was found, 1 when something was."""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from collections.abc import Sequence

from fuzz.run import LIFECYCLE_SHARE, Report, run

# (hostile requests, signed payloads)
SHORT = (20_000, 5_000)
FULL = (500_000, 200_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help=f"N is {FULL[0]:,} and {FULL[1]:,} instead of {SHORT[0]:,} and {SHORT[1]:,}"
    )
    parser.add_argument(
        "--hostile",
        type=int,
        metavar="N",
        help=f"requests without a delivery that counts: N to the webhook, N/{LIFECYCLE_SHARE} to the second endpoint",
    )
    parser.add_argument("--payloads", type=int, metavar="N", help="signed oddities: N to each of both endpoints")
    parser.add_argument("--seed", type=int, help="repeat a run; its report names it")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="one case of a run alone, as its report names it")
    parser.add_argument("--json", action="store_true", help="print the report as one object")
    options = parser.parse_args(arguments)
    hostile, payloads = FULL if options.full else SHORT
    seed = options.seed if options.seed is not None else secrets.randbelow(10**9)
    only = None
    if options.only:
        kind, _, number = options.only.partition(":")
        only = (kind, int(number))
    sys.stderr.write(f"fuzz: seed {seed}\n")
    report = asyncio.run(
        run(
            seed=seed,
            hostile=hostile if options.hostile is None else options.hostile,
            payloads=payloads if options.payloads is None else options.payloads,
            only=only,
        )
    )
    sys.stdout.write(json.dumps(report.as_dict()) + "\n" if options.json else _readable(report))
    return 1 if report.problems else 0


def _readable(report: Report) -> str:
    lines = [f"{sum(report.sent.values()):,} requests in {report.seconds:.0f} s, seed {report.seed}"]
    lines += [f"  sent     {count:>9,}  {kind}" for kind, count in report.sent.most_common()]
    lines += [f"  answered {count:>9,}  {ended}" for ended, count in report.answers.most_common()]
    lines += [
        f"  {report.calls:,} calls of the Data API, {report.shared:,} of them shared;"
        f" memory grew by {report.grown_bytes / 2**20:.1f} MiB when warm"
    ]
    lines += [f"PROBLEM {problem}" for problem in report.problems]
    lines += ["nothing found" if not report.problems else f"{len(report.problems)} problems"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
