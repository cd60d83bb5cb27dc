"""One mutant in a copy of the repository, and the tests that should notice it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local_stack.supabase_cli import REPOSITORY
from sql_tests.mutants.mutant import Mutant

PATIENCE_SECONDS = 240
# Per test, with what it sets up: for the shards three servers and the migrations of two.
TEST_SECONDS = {".py": 30, ".sql": 180}
NOT_COPIED = shutil.ignore_patterns(".*", "node_modules", "__pycache__", "dist", "bench", "docs")


def killer_of(mutant: Mutant) -> str:
    """The test that fails; empty where none does. Raises ValueError where there is no such place, no test ran, or the
    spoilt SQL could not even be installed.
    """
    kind = Path(mutant.file).suffix
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(REPOSITORY, copy, ignore=NOT_COPIED)
        (copy / "node_modules").symlink_to(REPOSITORY / "node_modules")  # the local stack's programs
        path = copy / mutant.file
        path.write_text(mutant.spoil(path.read_text()))
        # The folder where it runs comes before the installed project.
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += ["-o", f"timeout={TEST_SECONDS[kind]}"]
        try:
            done = subprocess.run(
                [*command, *mutant.killed_by], cwd=copy, capture_output=True, text=True, timeout=PATIENCE_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"no end within {PATIENCE_SECONDS} s"
    if done.returncode not in (0, 1) or (kind == ".sql" and "ERROR at setup of" in done.stdout):
        raise ValueError(f"{mutant.id}: {done.stdout[-800:]}{done.stderr[-800:]}")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return failed[1] if failed else "a test" * done.returncode
