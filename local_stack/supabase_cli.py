"""The Supabase CLI against one of our databases: push of the migrations, and its linter."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from local_stack.errors import PartMissingError, StackError

REPOSITORY = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 180.0

MISSING = (
    "the Supabase CLI is not installed. `make setup` installs it as an npm package; or set SUPABASE_CLI to "
    "the path of another `supabase` program."
)


def cli_path() -> Path:
    """SUPABASE_CLI, else the program of the npm package for this platform. Raises PartMissingError."""
    if chosen := os.environ.get("SUPABASE_CLI"):
        if not Path(chosen).is_file():
            raise PartMissingError(f"SUPABASE_CLI={chosen} does not exist; {MISSING}")
        return Path(chosen)
    # The package's own entry is a Node program that finds this one; going to it directly needs no Node.
    system, machine = platform.system().lower(), platform.machine().lower()
    arch = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(machine, machine)
    for suffix in ("", "-musl"):
        package = REPOSITORY / "node_modules" / "@supabase" / f"cli-{system}-{arch}{suffix}"
        if (package / "bin" / "supabase").is_file():
            return package / "bin" / "supabase"
    raise PartMissingError(MISSING)


def db_push(dsn: str, *, project_dir: Path = REPOSITORY, include_all: bool = False) -> str:
    """Apply `supabase/migrations` with `supabase db push`; returns the CLI's output.

    `dsn` should log in as `postgres`, as on a hosted project. `include_all` also applies what is older than the last
    version that was applied. Raises StackError with the output on failure.
    """
    options = ["--yes", "--skip-vault", *(["--include-all"] if include_all else []), f"--remote={dsn}"]
    done = _run(["db", "push", *options], project_dir)
    return done.stderr + done.stdout  # progress goes to stderr


def migration_repair(
    dsn: str, statuses: Mapping[str, Literal["applied", "reverted"]], *, project_dir: Path = REPOSITORY
) -> None:
    """Tell the history which versions count as applied, and which no longer do. Runs nothing of theirs."""
    for version, status in statuses.items():
        _run(["migration", "repair", "--yes", "--status", status, f"--remote={dsn}", version], project_dir)


def advisors(
    dsn: str, *, level: Literal["info", "warn", "error"] = "warn", project_dir: Path = REPOSITORY
) -> list[dict[str, Any]]:
    """What Supabase's linter (`supabase db advisors`) finds at that level or above; empty is a clean bill."""
    options = ["--output-format", "json", "--level", level, f"--remote={dsn}"]
    results: list[dict[str, Any]] = json.loads(_run(["db", "advisors", *options], project_dir).stdout)["results"]
    return results


def _run(arguments: list[str], project_dir: Path) -> subprocess.CompletedProcess[str]:
    """Run the CLI on a copy of `supabase/`, with a home of its own: it writes nothing to ours."""
    cli = cli_path()
    with tempfile.TemporaryDirectory(prefix="supabase-cli-") as home:
        workdir = Path(home) / "project"
        ignore = shutil.ignore_patterns(".temp", ".branches")
        shutil.copytree(project_dir / "supabase", workdir / "supabase", ignore=ignore)
        done = subprocess.run(
            [str(cli), *arguments, "--workdir", str(workdir), "--agent", "no"],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "PG"))},
                "HOME": home,
                "TMPDIR": home,  # the program unpacks a library there and leaves it
                "XDG_CONFIG_HOME": home,
                "SUPABASE_TELEMETRY_DISABLED": "1",
                "DO_NOT_TRACK": "1",
                "NO_COLOR": "1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
            cwd=home,
        )
    if done.returncode != 0:
        command = " ".join(arguments[:2])
        raise StackError(f"`supabase {command}` failed ({done.returncode}):\n{done.stdout}{done.stderr}".rstrip())
    return done
