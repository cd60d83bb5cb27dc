"""Runs the suites that a version of PostgreSQL could break on every version here: `python -m sql_tests.versions`.

The default run has them on PostgreSQL 17, and the schema on all versions. Exit status 1 where something failed.
"""

# ruff: noqa: T201

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sql_tests.servers import SUPABASES, has_extension, installations

HERE = Path(__file__).parent
SCHEMA = "test_versions.py"
SUITES = (
    "test_outcomes.py",
    "test_order_of_rules.py",
    "test_no_verdict.py",
    "test_replays.py",
    "test_refunds.py",
    "test_frozen.py",
    "test_exceptions.py",
    "test_readiness.py",
    "test_declarations.py",
    "test_constraints.py",
    "test_privileges.py",
    "test_row_level_security.py",
    "test_security_findings.py",
    "test_announcements.py",
    "test_schema.py",
    "test_migrations.py",  # with Supabase's linter
)
WORKERS = "2"


def main() -> int:
    """Run everything, then say what ran on which version."""
    found = installations()
    report = [(f"PostgreSQL {', '.join(map(str, found))}", "schema from empty and from earlier heads", run(SCHEMA))]
    for version, bin_dir in found.items():
        if version != SUPABASES:
            report.append((f"PostgreSQL {version}", "the suites", run(*SUITES, bin_dir=bin_dir)))
    checked = [str(version) for version, bin_dir in found.items() if has_extension(bin_dir, "plpgsql_check")]
    print()
    for where, what, succeeded in report:
        print(f"{where}: {what}: {'good' if succeeded else 'FAILED'}")
    print(f"plpgsql_check: {'on PostgreSQL ' + ', '.join(checked) if checked else 'NOT RUN, it is installed nowhere'}")
    return 0 if all(succeeded for _, _, succeeded in report) else 1


def run(*files: str, bin_dir: Path | None = None) -> bool:
    """Run test files, on another installation where one is given; true where all is well."""
    chosen = {} if bin_dir is None else {"LOCAL_STACK_PG_BIN": str(bin_dir)}
    command = [sys.executable, "-m", "pytest", "-q", "-n", WORKERS, "--dist", "loadfile"]
    print("\n", *files, chosen.get("LOCAL_STACK_PG_BIN", ""), flush=True)
    paths = [str(HERE / file) for file in files]
    return subprocess.run([*command, *paths], env=os.environ | chosen, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
