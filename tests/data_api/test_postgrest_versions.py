"""The fact sheet of docs/postgrest.md: each code of each version ends as the sheet says, and 12.0.2 is as recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from relay.core.outcomes import Reason
from relay.data_api.failures import from_answer

PAGE = Path(__file__).parent.parent.parent / "docs" / "postgrest.md"
RECORDED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("recorded_answers.json").read_text())
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
HEAD = re.compile(r"^\| code \| when \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \|", re.MULTILINE)


class Fact(NamedTuple):
    """What one version answers, and what becomes of it."""

    code: str
    when: str
    version: str
    status: int
    reason: str


def facts() -> list[Fact]:
    text = PAGE.read_text()
    (versions,) = HEAD.findall(text)
    found = []
    for code, when, *statuses, said in ROW.findall(text):
        reasons = re.findall(r"`(\w+)`", said)
        assert len(reasons) in (1, 2), code
        for version, status in zip(versions, statuses, strict=True):
            if status != "—":
                # Where the sheet names two, the second belongs to the versions that answer another status.
                reason = reasons[-1] if status != statuses[0] else reasons[0]
                found.append(Fact(code, when, version, int(status), reason))
    return found


FACTS = facts()


def test_the_sheet_has_every_version_and_no_code_twice_for_one_case() -> None:
    assert {fact.version for fact in FACTS} == {"12.0.2", "13.0.8", "14.17", "16.2"}
    assert len({(fact.code, fact.when, fact.version) for fact in FACTS}) == len(FACTS)
    assert len([fact for fact in FACTS if fact.version == "16.2"]) == len(ROW.findall(PAGE.read_text())) == 54


def answers(fact: Fact) -> dict[str, httpx.Response]:
    """The same failure as PostgREST says it, in fewer words (16's `minimal`), and through a proxy of another kind."""
    minimal = {"code": fact.code, "message": "words"}
    return {
        "verbose": httpx.Response(fact.status, json={**minimal, "details": None, "hint": None}),
        "minimal": httpx.Response(fact.status, json=minimal),
        "replaced": httpx.Response(
            fact.status, text="<html>", headers={"Proxy-Status": f"PostgREST; error={fact.code}"}
        ),
    }


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: f"{fact.code} in {fact.version}, {fact.when}")
def test_the_relay_classifies_each_code_of_each_version_as_the_sheet_says(fact: Fact) -> None:
    told = {how: from_answer(answer) for how, answer in answers(fact).items()}

    assert {how: failure.reason for how, failure in told.items()} == dict.fromkeys(told, Reason(fact.reason))
    assert {how: failure.retryable for how, failure in told.items()} == dict.fromkeys(told, fact.code == "40P01")
    assert all("words" not in failure.detail for failure in told.values())


def test_what_was_recorded_of_12_is_in_the_sheet_with_the_recorded_status_and_reason() -> None:
    recorded = {
        (each["body"]["code"], each["status"]): each["reason"]
        for each in RECORDED
        if isinstance(each["body"], dict) and each["body"].get("code")
    }
    sheet = {(fact.code, fact.status): fact.reason for fact in FACTS}

    assert {key: sheet[key] for key in recorded.keys() & sheet.keys()} == {
        key: recorded[key] for key in recorded.keys() & sheet.keys()
    }
    told = {code for code, _ in sheet}
    # PTnnn is any status that a function chooses.
    deciding = {code for (code, _), reason in recorded.items() if reason != Reason.UNEXPECTED}
    assert {code for code in deciding if not code.startswith("PT")} - told == set()
