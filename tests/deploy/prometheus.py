"""Prometheus and its promtool, of Debian's package, on the shipped rules."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from local_stack.errors import PartMissingError
from local_stack.postgres import free_port
from local_stack.process import GuardedProcess

RULES = Path(__file__).parent.parent.parent / "deploy" / "prometheus-rules.yaml"
Values = Callable[[int], float | None]
"""What a series shows at its nth sample; None where it shows nothing."""


def program(name: str) -> str:
    """The program's path. Raises PartMissingError."""
    if found := shutil.which(name):
        return found
    raise PartMissingError(f"{name} is missing; on Debian `make deploy-test` as root installs it")


def assert_firing(
    folder: Path, series: Mapping[str, Values], expected: Mapping[int, set[str]], *, interval: int, only: str = ".*"
) -> None:
    """Have promtool play the rules on these series: at each of the minutes exactly the expected alerts fire, of those
    whose names match `only`. A sample and an evaluation come every `interval` minutes.
    """
    count = max(expected) // interval + 1
    values = {name: [value(number) for number in range(count)] for name, value in series.items()}
    test = {
        "interval": f"{interval}m",
        "input_series": [
            {"series": name, "values": " ".join("_" if each is None else f"{each:g}" for each in shown)}
            for name, shown in values.items()
        ],
        "promql_expr_test": [
            {
                "expr": f'max by (alertname) (ALERTS{{alertstate="firing",alertname=~"{only}"}})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)],
            }
            for minute, names in expected.items()
        ],
    }
    file = folder / "play.json"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": f"{interval}m", "tests": [test]}))
    command = [program("promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """A server that scrapes and evaluates each second."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str) -> Any:
        """The data of an answer of its API; None while it does not answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310  our own server
                return json.load(answer)["data"]
        except OSError:
            return None

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        alerts = (self.ask("/api/v1/alerts") or {"alerts": []})["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def evaluations(self) -> int:
        """How often the rules have been evaluated since the target was first scraped."""
        answer = self.ask("/api/v1/query?query=count_over_time(relay_ready%5B1h%5D)")
        return int(answer["result"][0]["value"][1]) if answer and answer["result"] else 0


@contextmanager
def running(folder: Path, target: str) -> Iterator[Prometheus]:
    """A server that watches one relay, `target` being its host and port."""
    port = free_port()
    config = folder / "prometheus.yml"
    scrape = {"job_name": "relay", "static_configs": [{"targets": [target]}]}
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES)],
                "scrape_configs": [scrape],
            }
        )
    )
    process = GuardedProcess(
        [
            program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log=folder / "prometheus.log",
        cwd=folder,
    )
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.stop()
