"""Who may import whom: the rules of import_rules.toml hold, and each of them notices what it forbids."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from local_stack.supabase_cli import REPOSITORY
from relay.cli import COMMANDS

RULES = Path(__file__).with_name("import_rules.toml")
LINTER = tomllib.loads(RULES.read_text())["tool"]["importlinter"]
ROOTS, CONTRACTS = LINTER["root_packages"], LINTER["contracts"]

# A rule, a file, and a line in it that breaks the rule.
BREAKS = [
    ("floors", "relay/server/webhook.py", "from relay.commands import check"),
    ("floors", "relay/metrics.py", "from relay.data_api import client"),
    ("floors", "relay/core/event.py", "from relay.config import Settings"),
    ("floors", "relay/fifth_room.py", "X = 1"),
    ("core", "relay/core/checkout.py", "import time"),
    ("core", "relay/core/currency.py", "import os"),
    ("core", "relay/core/errors.py", "import httpx"),
    ("data-api", "relay/server/readiness.py", "import httpx"),
    ("data-api", "relay/commands/explain.py", "from postgrest.exceptions import APIError"),
    ("stripe", "relay/server/webhook.py", "import stripe"),
    ("stripe", "relay/data_api/client.py", "import stripe"),
    ("commands", "relay/commands/explain.py", "from relay.commands import exceptions"),
    ("commands", "relay/commands/sweep/sweep.py", "from relay.commands.report import command"),
    ("commands", "relay/commands/desk/pages.py", "from relay.commands.explain import Story"),
    ("furniture", "testkit/database.py", "from tests import conftest"),
    ("furniture", "chaos/database.py", "from fuzz import case"),
    ("furniture", "local_stack/stack.py", "from testkit import database"),
    ("shipped", "relay/server/app.py", "from local_stack import stack"),
    ("local-stack", "local_stack/stack.py", "from relay import cli"),
]


def lint(where: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Check the packages of a folder."""
    lint_imports = Path(sys.executable).with_name("lint-imports")
    command = [sys.executable, str(lint_imports), "--no-cache", "--no-logo", *options, str(RULES)]
    env = {**os.environ, "PYTHONPATH": str(where), "COLUMNS": "200"}
    return subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, check=False)


def test_rules_hold() -> None:
    done = lint(REPOSITORY)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages without what they read."""
    where = tmp_path_factory.mktemp("packages")
    for root in ROOTS:
        shutil.copytree(
            REPOSITORY / root, where / root, ignore=lambda _, names: [n for n in names if n.endswith(".pyc")]
        )
    return where


@pytest.mark.parametrize(("rule", "file", "line"), BREAKS)
def test_rule_notices_what_it_forbids(copy: Path, rule: str, file: str, line: str) -> None:
    place = copy / file
    text = place.read_text() if place.exists() else None
    place.write_text(f"{line}\n{text or ''}".replace("from __future__ import annotations\n", ""))
    try:
        done = lint(copy, "--contract", rule)
    finally:
        if text is None:
            place.unlink()
        else:
            place.write_text(text)

    assert done.returncode == 1
    assert re.search(r"0 kept, 1 broken|not listed as layers|fifth_room", done.stdout), done.stdout + done.stderr


def test_every_rule_was_tried() -> None:
    assert {rule for rule, _, _ in BREAKS} == {rule["id"] for rule in CONTRACTS}


def test_the_rule_of_the_commands_names_each_command() -> None:
    (rule,) = (rule for rule in CONTRACTS if rule["id"] == "commands")

    assert rule["modules"] == sorted(module.removesuffix(".command") for module in COMMANDS.values())


def test_no_test_module_is_imported_by_another() -> None:
    graph = grimp.build_graph(*ROOTS, cache_dir=None)
    tests = [module for module in graph.modules if module.rpartition(".")[2].startswith("test_")]

    assert {module: found for module in tests if (found := graph.find_modules_that_directly_import(module))} == {}


def test_the_core_loads_no_socket() -> None:
    """Also by what the standard library imports on its own."""
    modules = ", ".join(f"relay.core.{path.stem}" for path in sorted((REPOSITORY / "relay/core").glob("[a-z]*.py")))
    does_io = {"socket", "ssl", "asyncio", "logging", "subprocess"}
    code = f"import sys, {modules}; print(*sorted({does_io} & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
