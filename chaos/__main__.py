"""`python -m chaos`: exit status 0 when nothing was lost and every invariant holds, else 1; 2 where it cannot run."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import fields

from chaos.ground import Ground, Sharded
from chaos.run import FULL, SHORT, Report, Size, run
from local_stack.errors import StackError
from local_stack.signals import signals_as_interrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description=__doc__,
        epilog="CHAOS_EVENTS, CHAOS_COPIES, CHAOS_FAULTS, CHAOS_RELAYS and CHAOS_SEED scale and repeat a run.",
    )
    parser.add_argument("--full", action="store_true", help=f"{FULL.events:,} events and {FULL.faults} faults")
    parser.add_argument("--seed", type=int, default=_from_env("seed"), help="repeat a run's plan; its report names it")
    parser.add_argument("--shards", action="store_true", help="a router before two databases (make shards)")
    parser.add_argument("--json", action="store_true", help="print the report as one object")
    options = parser.parse_args(arguments)
    base = FULL if options.full else SHORT
    sizes = {each.name: _from_env(each.name) or getattr(base, each.name) for each in fields(Size)}
    seed = options.seed if options.seed is not None else secrets.randbelow(10**9)
    ground = Sharded if options.shards else Ground
    _say(f"seed {seed}")
    try:
        with signals_as_interrupt():
            report = asyncio.run(run(seed=seed, size=Size(**sizes), say=_say, ground=ground))
    except StackError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(json.dumps(report.as_dict()) + "\n" if options.json else _readable(report))
    return 1 if report.findings else 0


def _from_env(name: str) -> int | None:
    text = os.environ.get(f"CHAOS_{name.upper()}", "")
    return int(text) if text else None


def _say(text: str) -> None:
    sys.stderr.write(f"chaos: {text}\n")


def _readable(report: Report) -> str:
    tally = report.tally
    lines = [
        f"{report.deliveries:,} deliveries of {report.size.events:,} events to {report.size.relays} relays"
        f" in {report.seconds:.0f} s, seed {report.seed}",
        f"  {tally.attempts:,} attempts, {tally.retries:,} of them retries;"
        f" the relays (since their last start) sent {report.relay_retries:,} calls a second time",
        f"  and {report.relay_calls:,} calls for {report.payments_called_for:,} payments,"
        f" {report.shared_calls:,} of them shared",
        f"  quiet {report.seconds_to_quiet:.1f} s after the last fault",
        "  fault                      times  in flight  without verdict",
    ]
    lines += [
        f"  {kind:<25} {count:>6} {tally.struck[kind]:>10} {tally.failed[kind]:>16}"
        for kind, count in sorted(report.faults.items())
    ]
    lines += [f"  answered {count:>7,}  {answer}" for answer, count in tally.answers.most_common()]
    lines += [f"  no answer {count:>6,}  {error}" for error, count in tally.no_answer.most_common()]
    lines += [f"FINDING {finding}" for finding in report.findings]
    lines += ["all is well" if not report.findings else f"{len(report.findings)} findings"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
