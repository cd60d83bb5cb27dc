"""The documentation speaks of commands, options, targets, files, alerts and reasons that exist."""

import argparse
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from relay.cli import COMMANDS, _parser, command_of
from relay.commands.desk.remedies import REMEDIES, Remedy
from relay.config import VARIABLES
from relay.core.lifecycle import TYPES
from relay.core.outcomes import EXCEPTION_REASONS, REASONS_OF, Outcome
from relay.metrics import Metrics
from sql_tests.declarations import COLUMNS, FUNCTIONS
from testkit.command_line import run
from tests.documented import LINKING, NAMES, ROOT, SWEEP, commands, documented, filled


def test_the_documentation_shows_every_command() -> None:
    shown = {command.split()[0] for where, command in documented() if where.endswith(".md")}

    assert set(NAMES) - shown == set(), "show `relay NAME` of each in a page, docs/operations.md first"


@pytest.mark.parametrize(("where", "command"), sorted(set(documented())))
def test_a_documented_command_is_one_that_the_command_line_takes(
    where: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.json").write_text(SWEEP)
    words = filled(command)
    if words[0] == "COMMAND":
        words[0] = NAMES[0]
    if all(re.fullmatch(r"[a-z]+", word) for word in words):
        words.append("--help")  # the name alone, in a sentence
    try:
        _parser().parse_args(words)
    except SystemExit as error:
        assert error.code == 0, f"{where}: relay {command}"  # noqa: PT017  argparse has said why


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_every_command_has_help_with_examples_and_exit_statuses(name: str) -> None:
    status, output, errors = await run(name, "--help", env={})

    assert (status, errors) == (0, "")
    assert f"  relay {name}" in output
    assert "exit status: 0 " in output


def test_every_extra_has_the_pinned_libraries_that_its_message_names() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    for name, libraries in extras.items():
        pinned = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
        for library in libraries:
            project = re.split(r"[\[<>=]", library)[0]
            assert any(line.startswith((f"{project}==", f"{project}[")) for line in pinned), library


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_targets_links_and_headings_exist(page: Path) -> None:
    text = page.read_text()
    rules = re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}

    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    for name, anchor in re.findall(r"\]\(([^)#\s:]*)(?:#([a-z0-9-]+))?\)", text):
        target = (page.parent / name) if name else page
        assert target.exists(), name
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_operations_tells_what_to_do_about_every_alert_and_every_reason() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", (ROOT / "deploy" / "prometheus-rules.yaml").read_text())

    assert [name for name in (*alerts, *EXCEPTION_REASONS) if f"`{name}`" not in text] == []


def test_the_sweep_that_closes_a_month_begins_where_its_report_does() -> None:
    section = (ROOT / "docs" / "operations.md").read_text().partition("\n## Closing the month\n")[2]
    begins = {command.split()[0]: command.split()[2] for command in commands(section) if " --since " in command}

    assert begins["sweep"] == begins["report"] == "2026-11-01"


def test_what_to_do_is_what_the_documentation_says() -> None:
    """Whoever adds a reason to docs/operations.md adds it to relay/commands/desk/remedies.py, word by word."""
    table = (ROOT / "docs" / "operations.md").read_text().partition("### The reasons\n")[2].partition("```")[0]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    documented = [
        (reason, Remedy(usually, do)) for names, usually, do in rows for reason in re.findall(r"`(\w+)`", names)
    ]

    assert sorted(documented) == sorted(REMEDIES.items())
    assert REMEDIES.keys() == set(map(str, EXCEPTION_REASONS))


def test_the_contract_lists_every_reason_of_every_outcome_and_no_other() -> None:
    text = (ROOT / "docs" / "contract.md").read_text()
    rejections = text.partition("| reason of a rejection |")[2].partition("\n\n")[0]
    listed = {outcome: set[str]() for outcome in Outcome}
    for outcome, reasons in re.findall(r"`(\w+)`\s·\s((?:`\w+`(?:, )?)+)", text):
        listed[Outcome(outcome)] |= {*re.findall(r"\w+", reasons)}
    for row in re.findall(r"^\| (`.*?) \|", rejections, re.MULTILINE):
        listed[Outcome.REJECTED] |= {*re.findall(r"\w+", row)}

    assert listed == {outcome: reasons - {None} for outcome, reasons in REASONS_OF.items()}


@pytest.mark.parametrize(
    ("page", "heading"), [("contract.md", "## The lifecycle route"), ("operations.md", "## The second endpoint")]
)
def test_the_pages_name_every_type_of_the_lifecycle_route_and_no_other(page: str, heading: str) -> None:
    text = (ROOT / "docs" / page).read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    cells = "\n".join(re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE))

    shown, before = set[str](), ""
    for stem, step in re.findall(r"`([a-z_.]*?)\.(\w+)`", cells):
        before = stem or before  # `.updated` behind `charge.dispute.created` is short for `charge.dispute.updated`
        shown.add(f"{before}.{step}")
    assert shown == TYPES


def test_the_contract_names_every_command_with_its_actions_and_no_other() -> None:
    text = (ROOT / "docs" / "contract.md").read_text().partition("has the commands ")[2].partition(". ")[0]
    shown = {name: re.findall(r"\w+", actions) for name, actions in re.findall(r"`(\w+)`(?: \(([^)]+)\))?", text)}

    assert shown == {name: actions_of(name) for name in COMMANDS}


def actions_of(name: str) -> list[str]:
    parser = argparse.ArgumentParser()
    command_of(name).add_arguments(parser)
    for action in parser._actions:  # noqa: SLF001  argparse tells them in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return list(action.choices)
    return []


def test_the_contract_lists_every_series_and_no_other() -> None:
    text = (ROOT / "docs" / "contract.md").read_text().partition("## Metrics\n")[2].partition("\n## ")[0]
    metrics = Metrics()
    metrics.ready.set(1)
    metrics.last_delivery.set(0)
    metrics.show_exceptions({}, 0)
    made = [family.name + "_total" * (family.type == "counter") for family in metrics.registry.collect()]

    assert sorted(re.findall(r"`(relay_\w+)", text)) == sorted(name for name in made if name.startswith("relay_"))


def test_the_contract_lists_every_function_of_the_data_api_with_its_parameters() -> None:
    text = (ROOT / "docs" / "contract.md").read_text().partition("## Functions\n")[2].partition("\n## ")[0]
    shown = {name: re.findall(r"\bp_\w+", parameters) for name, parameters in re.findall(r"`(\w+)\((.*?)\)`", text)}
    shown["reconcile_order_group_payment"] = re.findall(
        r"^ {4}(p_\w+)", (ROOT / "docs" / "contract.md").read_text(), re.MULTILINE
    )
    declared = re.findall(r"^public\.(\w+)\((.*?)\) \|", FUNCTIONS, re.MULTILINE)

    assert shown == {name: re.findall(r"\bp_\w+", parameters) for name, parameters in declared}


def test_the_contract_lists_only_columns_that_exist() -> None:
    text = (ROOT / "docs" / "contract.md").read_text().partition("## Tables\n")[2].partition("\n\nAmounts")[0]
    rows = re.findall(r"^\| `(\w+)`[^|]*\| (.*) \|$", text, re.MULTILINE)
    shown = {f"public.{table}.{re.findall(r'`(.+?)`', part)[0]}" for table, cells in rows for part in _parts(cells)}
    declared = set(re.findall(r"^(public\.\w+\.\w+) ", COLUMNS, re.MULTILINE))

    assert {name.rpartition(".")[0] for name in shown} == {name.rpartition(".")[0] for name in declared}
    assert shown <= declared


def _parts(cells: str) -> list[str]:
    """A table's columns, without what stands behind them in parentheses."""
    return re.sub(r" \([^)]*\)", "", cells).split(", ")


def test_the_page_of_settings_lists_every_one_and_no_other() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()

    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(VARIABLES)


def test_git_ignores_what_the_documentation_makes_in_a_clone() -> None:
    text = "\n".join(page.read_text() for page in LINKING)
    made = {
        f"{name}/"
        for name in re.findall(r"-m venv (\w+)$|--data \./(\w+)", text, re.MULTILINE)
        for name in name
        if name
    }
    made |= {
        name
        for pair in re.findall(r"^cp \S+ (\.\w+)$|--env-file (\.[\w.]+)'", text, re.MULTILINE)
        for name in pair
        if name
    }
    done = subprocess.run(["git", "check-ignore", *made], cwd=ROOT, capture_output=True, text=True, check=False)

    assert made >= {"venv/", "data/", ".env", ".env.local"}
    assert set(done.stdout.split()) == made


def exit_statuses(name: str) -> tuple[str, str, str]:
    """The command, and what its help says that 0 and 1 mean; "" where it has no 1."""
    meant = re.search(r"^exit status: 0 (.+?)(?:[,;] 1 (.+?))?(?:[,;] 2 .+)?$", command_of(name).EPILOG, re.MULTILINE)
    assert meant, f"relay {name}: its EPILOG needs a line `exit status: 0 …, 1 …, 2 …`"
    return name, meant[1], meant[2] or ""


def test_operators_are_told_every_commands_exit_statuses_in_the_words_of_its_help() -> None:
    """In the order of COMMANDS. A command without a status 1 has an empty cell there."""
    table = (ROOT / "docs" / "operations.md").read_text().partition("### Exit statuses")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|([^|]+)\|([^|]*)\|$", table, re.MULTILINE)

    assert [(name, ok.strip(), no.strip()) for name, ok, no in rows] == [exit_statuses(name) for name in COMMANDS]
