"""What operators look at asks for series, labels and values that a running relay really shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.core.outcomes import REASONS_OF, Outcome, Reason
from testkit.relay_under_test import Relay
from testkit.stripe_events import completed

DEPLOY = Path(__file__).parent.parent / "deploy"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EXPRESSIONS = {
    **{f"alert {rule['alert']}": rule["expr"] for rule in RULES},
    **{f"panel {panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
}
SERIES = re.compile(r"\b(?:relay|process)_[a-z_]+\b")
MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
TARGET_LABELS = {"job", "instance"}  # what Prometheus adds


def label_values(expression: str, label: str) -> Iterator[str]:
    for name, _, value in MATCHER.findall(expression):
        if name == label:
            yield from value.split("|")


@pytest.mark.anyio
async def test_every_series_that_is_asked_for_is_there_after_the_first_delivery_and_check(relay: Relay) -> None:
    await relay.deliver(completed())
    await relay.get("/readyz")
    _, text = await relay.get("/metrics")
    shown = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}

    asked = {name for expression in EXPRESSIONS.values() for name in SERIES.findall(expression)}

    assert asked - shown == set()
    own = {name for name in shown if name.startswith("relay_") and not name.endswith(("_created", "_sum", "_count"))}
    assert own - asked - {"relay_delivery_seconds", "relay_rpc_seconds"} == set()


@pytest.mark.anyio
async def test_every_way_to_end_is_counted_from_zero(relay: Relay) -> None:
    await relay.deliver(completed())
    _, text = await relay.get("/metrics")
    shown = {line for line in text.splitlines() if re.match(r"relay_(lifecycle_)?deliveries_total", line)}

    expected = {
        f'{series}{{outcome="{outcome}",reason="{reason or ""}"}} {float(outcome == applied)}'
        for series, applied in (("relay_deliveries_total", "applied"), ("relay_lifecycle_deliveries_total", None))
        for outcome, reasons in REASONS_OF.items()
        for reason in reasons
    }

    assert shown == expected
    assert REASONS_OF.keys() == set(Outcome)
    assert {reason for reasons in REASONS_OF.values() for reason in reasons} == {None, *Reason}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_an_expression_uses_words_of_the_contract_and_closes_what_it_opens(expression: str) -> None:
    assert {name for name, _, _ in MATCHER.findall(expression)} <= {"outcome", "reason", *TARGET_LABELS}
    assert set(label_values(expression, "outcome")) <= set(Outcome)
    assert set(label_values(expression, "reason")) <= set(Reason)
    for reason in label_values(expression, "reason"):
        for outcome in label_values(expression, "outcome"):
            assert "!=" in expression or Reason(reason) in REASONS_OF[Outcome(outcome)]
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_says_how_urgent_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "action"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
        assert f"by ({label}" in rule["expr"] or f", {label})" in rule["expr"] or "sum" not in rule["expr"]


def test_each_thing_that_an_operator_must_act_on_has_an_alert() -> None:
    alerted = " ".join(rule["expr"] for rule in RULES)

    for word in (
        "relay_open_exceptions",
        "relay_oldest_open_exception_seconds",
        "rejected",
        "failed",
        "malformed_event",
        "wrong_path",
        "relay_ready",
        "relay_log_lines_lost",
    ):
        assert word in alerted
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_dashboard_begins_with_what_needs_a_person_and_with_the_last_delivery() -> None:
    first = sorted((panel for panel in PANELS if panel["gridPos"]["y"] == 0), key=lambda panel: panel["gridPos"]["x"])

    assert [panel["title"] for panel in first][:3] == [
        "Open exceptions",
        "The oldest has waited",
        "Minutes since the last delivery",
    ]
    assert sum(panel["gridPos"]["w"] for panel in first) == 24


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["description"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "job", "instance"]
    assert "id" not in DASHBOARD
