"""A run's figures as Markdown, with what was aimed at, and as a chart."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

from bench.function import of_clients

Run = dict[str, Any]
NAMES: Final = {
    "relay": "this relay",
    "node": "node:http, stripe-node, supabase-js",
    "fastapi": "FastAPI, stripe, supabase-py, defaults",
    "next": "Next.js route handler",
    "deno": "Deno.serve, the same libraries",
}
UNIT: Final = 1e6
CALLERS: Final = (1, 16, 64, 256)
SHARE: Final = "70%"


def chart(run: Run) -> bytes:
    """Events a second of each server, as SVG."""
    import pygal
    from pygal.style import CleanStyle

    samples = run["side_by_side"]["samples"]
    drawing = pygal.HorizontalBar(
        js=[], style=CleanStyle(font_family="system-ui, sans-serif"), width=720, height=320, legend_at_bottom=True
    )
    drawing.title = "Events a second on one core, before one stub Data API"
    names = [name for name in NAMES if f"{name}, 16 callers" in samples]
    drawing.x_labels = [NAMES[name] for name in names]
    for callers in CALLERS:
        drawing.add(f"{callers} callers", [_median(run, f"{name}, {callers} callers", "per_second") for name in names])
    drawing.value_formatter = lambda value: f"{value:,.0f}"
    rendered: bytes = drawing.render()
    return rendered


def markdown(run: Run) -> str:
    """The whole run as a page."""
    parts = [f"# Bench of {run['date']}", _machine(run)]
    parts += [_targets(run)]
    for part in (_servers, _floors, _whole_path, _open_loop, _function, _guards, _history, _footprint):
        parts += part(run)
    return "\n\n".join(parts) + "\n"


def _machine(run: Run) -> str:
    facts = "; ".join(f"{name}: {value}" for name, value in run["machine"].items())
    return (
        f"{facts}. Medians, and in brackets the spread of the rounds. Figures of two runs are not compared, ratios are."
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [" | ".join(head), " | ".join(["---"] * len(head)), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _rounds(run: Run, label: str, what: str) -> list[float]:
    return [each[what] for each in run["side_by_side"]["samples"].get(label, [])]


def _median(run: Run, label: str, what: str) -> float:
    return median(_rounds(run, label, what))


def _spread(values: list[float], digits: int = 0) -> str:
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _slope(items: dict[str, float]) -> float:
    """Microseconds for each further item, between a thousand and five thousand."""
    return (items["5000"] - items["1000"]) / 4_000


def _ratios(run: Run) -> list[tuple[str, float, str, bool]]:
    """What was aimed at: words, the figure, the aim, whether it is met."""
    found: list[tuple[str, float, str, bool]] = []

    def at_least(words: str, figure: float, aim: float) -> None:
        found.append((words, figure, f"≥ {aim:g}", figure >= aim))

    def at_most(words: str, figure: float, aim: float) -> None:
        found.append((words, figure, f"≤ {aim:g}", figure <= aim))

    if side := run.get("side_by_side"):
        aims = {"node": 1.2, "next": 4.0, "deno": 1.0, "fastapi": 10.0}
        for name, aim in aims.items():
            for callers in (16, 64):
                ours, theirs = f"relay, {callers} callers", f"{name}, {callers} callers"
                if theirs in side["samples"]:
                    figure = _median(run, ours, "per_second") / _median(run, theirs, "per_second")
                    at_least(f"events/s over {name}'s, {callers} callers", figure, aim)
                    figure = _median(run, ours, "p99_ms") / _median(run, theirs, "p99_ms")
                    at_most(f"p99 over {name}'s, {callers} callers", figure, 1)
        if "node" in side["peak_mib"]:
            at_most("memory over node's", side["peak_mib"]["relay"] / side["peak_mib"]["node"], 0.5)
        mine = _median(run, "relay, 16 callers", "cpu_us")
        bare = _median(run, "bare read, 16 callers", "cpu_us")
        at_most("processor time over the sum of the floors", mine / (bare + sum(side["floors_us"].values())), 1.25)
        if "fastapi" in side["peak_mib"]:
            at_most(
                "processor time over the naive handler's", mine / _median(run, "fastapi, 16 callers", "cpu_us"), 0.15
            )
        at_most("a refusal over a bare read", _median(run, "relay, refusing", "cpu_us") / bare, 1.3)
    if path := run.get("whole_path"):
        middle = {label: _middle(samples) for label, samples in path["samples"].items()}

        def ratio(of: str, over: str, unit: str = "per_second") -> float:
            return middle[of][unit] / middle[over][unit]

        for callers, aim in ((16, 1.3), (64, 1.6)):
            words = f"whole path over posting straight, {callers} callers"
            at_least(words, ratio(f"relay, {callers} callers", f"straight, {callers} callers"), aim)
        at_least("whole path over batches straight", ratio("relay, 64 callers", "batches straight, 64 callers"), 0.6)
        used = ratio("relay, 64 callers", "relay, 1 callers", "Postgres µs")
        at_most("Postgres's time for an event, 64 callers over one", used, 0.6)
        for unit in ("p50_ms", "p99_ms"):
            alone = ratio("relay, 1 callers", "relay, each alone, 1 callers", unit)
            at_most(f"one caller's {unit[:3]} over going alone by force", alone, 1.02)
        burst = path["burst_ms"]
        at_most("p99 of a burst of copies over different events", burst["copies"]["p99"] / burst["different"]["p99"], 2)
    if function := run.get("function"):
        tps = {label: median(rates) for label, rates in function["tps"].items()}
        for clients in (1, 8, 32):
            at_least(f"new events over the floor, {of_clients(clients)}", _of(tps, "new", "floor", clients), 0.8)
        for clients in (1, 8, 32):
            if f"new by 32, {of_clients(clients)}" in tps:
                at_least(
                    f"a batch of 32 over 32 singles, {of_clients(clients)}", _of(tps, "new by 32", "new", clients), 1.8
                )
        for clients in (1, 8, 32):
            at_least(f"replays over new events, {of_clients(clients)}", _of(tps, "replay", "new", clients), 6)
        at_least("replays of one hot row over spread ones, 32 clients", _of(tps, "hot replay", "replay", 32), 1)
        at_most("µs for each further item", _slope(function["items_us"]["function"]), 8)
        sizes = sorted(function["history_tps"], key=int)
        first, last = (function["history_tps"][size] for size in (sizes[0], sizes[-1]))
        at_least(f"new events at {int(sizes[-1]):,} recorded over {int(sizes[0]):,}", last["new"] / first["new"], 0.8)
        at_least(f"replays at {int(sizes[-1]):,} over {int(sizes[0]):,}", last["replay"] / first["replay"], 0.6)
    if loop := run.get("open_loop"):
        spread = {name: _p99_over_p50(loop, name) for name in loop["per_second"]}
        at_most(f"p99 over p50 in the open loop at {SHARE}", spread["relay"], 5)
        for name in [name for name in spread if name != "relay"]:
            at_most(f"that over {name}'s", spread["relay"] / spread[name], 1)
    if start := run.get("start"):
        at_most("seconds until it serves", median(start["seconds"]), 0.8)
        at_most("MiB at the end of the run", run["side_by_side"]["peak_mib"]["relay"], 70)
    return found


def _p99_over_p50(loop: Run, name: str) -> float:
    """In the open loop, at the share of its own most that is aimed at."""
    ratios: list[float] = [each["p99_ms"] / each["p50_ms"] for each in loop["samples"][f"{name}, {SHARE}"]]
    return median(ratios)


def _of(tps: dict[str, float], one: str, other: str, clients: int) -> float:
    return tps[f"{one}, {of_clients(clients)}"] / tps[f"{other}, {of_clients(clients)}"]


def _targets(run: Run) -> str:
    rows = [
        [words, f"{figure:,.2f}" if figure < 100 else f"{figure:,.0f}", aim, "yes" if met else "**no**"]
        for words, figure, aim, met in _ratios(run)
    ]
    return "## What was aimed at\n\n" + _table(["what", "found", "aim", "met"], rows)


def _servers(run: Run) -> list[str]:
    if not (side := run.get("side_by_side")):
        return []
    rows = []
    for name, words in NAMES.items():
        for callers in CALLERS:
            label = f"{name}, {callers} callers"
            if label in side["samples"]:
                rows.append(
                    [
                        words,
                        str(callers),
                        _spread(_rounds(run, label, "per_second")),
                        _spread(_rounds(run, label, "p50_ms"), 1),
                        _spread(_rounds(run, label, "p99_ms"), 1),
                        _spread(_rounds(run, label, "cpu_us")),
                        f"{side['peak_mib'][name]:,.0f}",
                    ]
                )
    head = ["server", "callers", "events/s", "p50 ms", "p99 ms", "processor µs an event", "peak MiB"]
    plan = side["plan"]
    words = (
        f"Each pinned to one core, callers and Data API on the others; {plan['warm_up_seconds']:g} s of warm-up, "
        f"then {plan['rounds']} interleaved rounds of {plan['seconds']:g} s."
    )
    return ["## Side by side", "![events a second](chart.svg)", words, _table(head, rows)]


def _floors(run: Run) -> list[str]:
    if not (side := run.get("side_by_side")):
        return []
    bare = _rounds(run, "bare read, 16 callers", "cpu_us")
    rows = [["bare aiohttp read, on the relay's event loop", _spread(bare)]]
    rows += [[name, f"{microseconds:,.0f}"] for name, microseconds in side["floors_us"].items()]
    rows += [["sum", f"{median(bare) + sum(side['floors_us'].values()):,.0f}"]]
    rows += [["the relay, an event", _spread(_rounds(run, "relay, 16 callers", "cpu_us"))]]
    rows += [["the relay, a refused request", _spread(_rounds(run, "relay, refusing", "cpu_us"))]]
    return ["## Floors", _table(["part", "processor µs"], rows)]


def _whole_path(run: Run) -> list[str]:
    if not (path := run.get("whole_path")):
        return []
    bursts = [[name, f"{values['p50']:,.1f}", f"{values['p99']:,.1f}"] for name, values in path["burst_ms"].items()]
    burst = _table(["burst of 32", "p50 ms", "p99 ms"], bursts)
    units = ("per_second", "p50_ms", "p99_ms", "relay µs", "PostgREST µs", "Postgres µs")
    rows = [
        [
            label.replace(", 1 callers", ", 1 caller"),
            *(_spread([each[unit] for each in samples]) if unit in samples[0] else "" for unit in units),
        ]
        for label, samples in path["samples"].items()
    ]
    return [
        "## The whole path",
        "Real PostgREST and Postgres; all processes on all cores. The parts' times are processor time for an event.",
        _table(["posted to", "events/s", "p50 ms", "p99 ms", *units[3:]], rows),
        burst,
    ]


def _open_loop(run: Run) -> list[str]:
    if not (loop := run.get("open_loop")):
        return []
    rows = []
    for name, words in NAMES.items():
        for label in (label for label in loop["samples"] if label.startswith(f"{name}, ")):
            share = label.removeprefix(f"{name}, ")
            rate, p50, p99 = (
                [each[unit] for each in loop["samples"][label]] for unit in ("per_second", "p50_ms", "p99_ms")
            )
            rows.append([words, share, _spread(rate), _spread(p50, 1), _spread(p99, 1)])
    return [
        "## Open loop",
        "Deliveries come at fixed moments, at a share of what 64 callers get through just before; latencies count from "
        "these moments. Real PostgREST and Postgres; all processes on all cores.",
        _table(["server", "share", "events/s", "p50 ms", "p99 ms"], rows),
    ]


def _middle(samples: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {unit: median(each[unit] for each in samples) for unit in samples[0]}


def _function(run: Run) -> list[str]:
    if not (function := run.get("function")):
        return []
    rows = [[label, _spread(rates)] for label, rates in sorted(function["tps"].items())]
    items = [
        [f"{int(count):,}", f"{ours:,.0f}", f"{function['items_us']['floor'][count]:,.0f}"]
        for count, ours in function["items_us"]["function"].items()
    ]
    slopes = {name: f"{_slope(values):,.1f}" for name, values in function["items_us"].items()}
    return [
        "## The function",
        "pgbench, prepared statements, four items an event, without fsync.",
        _table(["payments", "a second"], rows),
        _table(["items of a payment", "µs", "µs at the floor"], items),
        f"Each further item: {slopes['function']} µs, at the floor {slopes['floor']} µs.",
    ]


def _guards(run: Run) -> list[str]:
    if not (function := run.get("function")):
        return []
    rates = {guard: median(values) for guard, values in function["guards_tps"].items()}
    whole = next(iter(rates.values()))
    rows = [
        [guard, f"{rate:,.0f}", f"{UNIT / whole - UNIT / rate:,.0f}" if rate != whole else ""]
        for guard, rate in rates.items()
    ]
    words = "New events of one client with one guard taken away; a difference of some ten µs is noise."
    return ["## What each guard costs", words, _table(["without", "tps", "µs saved"], rows)]


def _history(run: Run) -> list[str]:
    if not (function := run.get("function")):
        return []
    rows = [
        [f"{int(size):,}", f"{rates['new']:,.0f}", f"{rates['replay']:,.0f}"]
        for size, rates in function["history_tps"].items()
    ]
    return ["## With history", _table(["recorded events", "new events tps", "replays tps"], rows)]


def _footprint(run: Run) -> list[str]:
    if not (start := run.get("start")):
        return []
    rows = [["seconds", _spread(start["seconds"], 2)], ["MiB then", _spread(start["mib"])]]
    return ["## Start", _table(["from the start to the first connection", ""], rows)]
