"""A project's own schemas, dumped by its owner and restored by the owner of another project."""

from __future__ import annotations

import subprocess
from pathlib import Path

# What the target has already, and what is the platform's to say.
FOREIGN = ("SCHEMA - public", "ACL - SCHEMA public", "COMMENT - SCHEMA public", "DEFAULT ACL")


def restore(bin_dir: Path, source: str, target: str, home: Path) -> None:
    """Dump the schemas public and payments of a URL with pg_dump, and restore them at another one with pg_restore.

    The accounts come first, because buyers and members are foreign keys to them; URLs are those of a superuser for the
    accounts and of `postgres` for all else, so `{user}` stands in both. `bin_dir` may not be older than either server.
    """
    accounts, dump, listed = home / "accounts.dump", home / "project.dump", home / "project.list"
    _run(
        bin_dir / "pg_dump",
        *("--format=custom", "--data-only", "--table=auth.users", f"--file={accounts}"),
        source.format(user="supabase_admin"),
    )
    _run(bin_dir / "pg_restore", f"--dbname={target.format(user='supabase_admin')}", accounts)
    _run(
        bin_dir / "pg_dump",
        *("--format=custom", "--schema=public", "--schema=payments", f"--file={dump}"),
        source.format(user="postgres"),
    )
    entries = _run(bin_dir / "pg_restore", "--list", dump).splitlines(keepends=True)
    listed.write_text("".join(entry for entry in entries if not any(words in entry for words in FOREIGN)))
    _run(
        bin_dir / "pg_restore",
        *("--exit-on-error", f"--use-list={listed}", f"--dbname={target.format(user='postgres')}"),
        dump,
    )


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
