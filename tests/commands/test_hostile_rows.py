"""The operators' commands answer whatever a row holds: the database's owner may write what no payment could bring."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_stack.surface import StackSurface
from testkit.command_line import Ended
from testkit.hostile_rows import EVENTS, EXCEPTIONS, Rows, hostile_rows
from testkit.project import open_project
from testkit.stripe_api_server import StripeServer
from testkit.sweeping import settings

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def rows(stack: StackSurface) -> Iterator[Rows]:
    """A project in which they are, for this module alone."""
    with open_project(stack) as project, hostile_rows(project) as told:
        yield told


def read(output: str) -> Any:
    """What a program reads; Python would refuse a number of 5,000 digits."""
    return json.loads(output, parse_int=lambda digits: int(digits) if len(digits) < 20 else digits)


def assert_answered(ended: Ended, *statuses: int) -> None:
    """It ended as it says, with one answer, and no character moves an operator's cursor."""
    assert ended.status in statuses, ended.errors
    assert "Traceback" not in ended.errors
    assert ended.output
    assert not controls(ended.output + ended.errors)


def controls(told: str) -> set[str]:
    """The characters that would move the cursor, or turn the direction of the text."""
    return {one for one in told if ord(one) < 32 or 127 <= ord(one) < 160 or one == "\u202e"} - {"\n"}


async def test_list_tells_all_of_them(rows: Rows) -> None:
    written, as_json = await asyncio.gather(
        rows.project.relay("exceptions", "list", "--status", "all"),
        rows.project.relay("exceptions", "list", "--status", "all", "--json"),
    )

    assert_answered(written, 0)
    assert_answered(as_json, 0)
    assert set(rows.numbers.values()) <= {row["id"] for row in read(as_json.output)}


@pytest.mark.parametrize("name", EXCEPTIONS)
async def test_exception_is_shown_and_its_group_explained(rows: Rows, name: str) -> None:
    number, group = str(rows.numbers[name]), str(rows.groups[name])
    shown, as_json, explained = await asyncio.gather(
        rows.project.relay("exceptions", "show", number),
        rows.project.relay("exceptions", "show", number, "--json"),
        rows.project.relay("explain", group),
    )

    for ended in (shown, as_json, explained):
        assert_answered(ended, 0)
    assert read(as_json.output)["id"] == rows.numbers[name]
    assert "amount_mismatch" in explained.output


async def test_resolution_that_is_declined_says_who_was_faster(rows: Rows) -> None:
    number = str(rows.numbers["closed by nobody, never"])

    ended = await rows.project.relay(
        *("exceptions", "resolve", number, "--resolution", "dismissed", "--by", "ada", "--note", "x")
    )

    assert (ended.status, ended.output) == (1, "")
    assert not controls(ended.errors)
    assert f"payment exception {number} was closed as dismissed by a" in ended.errors


@pytest.mark.parametrize("name", EVENTS)
async def test_group_is_explained(rows: Rows, name: str) -> None:
    group = str(rows.groups[name])
    written, as_json = await asyncio.gather(
        rows.project.relay("explain", group), rows.project.relay("explain", group, "--json")
    )

    for ended in (written, as_json):
        assert_answered(ended, 0)
    assert read(as_json.output)["order_group_id"] == group


async def test_report_tells_them_and_that_something_is_wrong(rows: Rows, tmp_path: Path) -> None:
    page, sheet = tmp_path / "page.html", tmp_path / "sheet.csv"
    written, as_json, filed = await asyncio.gather(
        rows.project.relay("report", "--since", "2d"),
        rows.project.relay("report", "--since", "2d", "--json"),
        rows.project.relay("report", "--since", "2d", "--html", str(page), "--csv", str(sheet)),
    )

    for ended in (written, as_json):
        assert_answered(ended, 1)
    told = {row["id"] for row in read(as_json.output)["exceptions"]}
    assert {number for name, number in rows.numbers.items() if name != "closed by nobody, never"} <= told
    assert (filed.status, "Traceback" in filed.errors) == (1, False)
    assert "amount mismatch" in page.read_text()
    assert sheet.read_text()


async def test_sweep_compares_them(rows: Rows, anyio_backend: str) -> None:
    assert anyio_backend == "asyncio"
    async with StripeServer().listening() as stripe:
        ended = await rows.project.relay("sweep", "--since", "72h", "--dry-run", "--json", **settings(stripe))

    assert_answered(ended, 1)  # groups that are paid here and not in Stripe
    assert read(ended.output)["paid_here_only"]
