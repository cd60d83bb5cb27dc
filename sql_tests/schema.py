"""The schema that the migrations make, as text: `python -m sql_tests.schema` writes it to schema.sql.

The text is pg_dump's, without what another server version or the platform around the two schemas would change.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from local_stack import platform, supabase_cli
from local_stack.postgres import Postgres

FILE = Path(__file__).with_name("schema.sql")
HEADER = "-- The schema after all migrations; written by `make schema`, reviewed in diffs, never applied.\n"

# Owners are left out because each object would repeat the same one: public.security_findings() checks them.
DUMP = ("--schema-only", "--no-owner", "--schema=public", "--schema=payments")

# What is not the migrations' own work, or differs between versions of pg_dump that dump the same schema.
FOREIGN = re.compile(
    r"""
    ^(?:
        \\(?:un)?restrict\ .*                            # a random key, since the minor releases of August 2025
        |--.*                                            # versions, and names that the statement itself repeats
        |SET\ .*;
        |SELECT\ pg_catalog\.set_config\(.*;
        |CREATE\ SCHEMA\ public;                         # the platform's, as are its privileges and the defaults
        |COMMENT\ ON\ SCHEMA\ public\ IS\ .*;
        |(?:REVOKE|GRANT)\ .*\ ON\ SCHEMA\ public\ .*;
        |ALTER\ DEFAULT\ PRIVILEGES\ .*;
    )\n
    """,
    re.MULTILINE | re.VERBOSE,
)
BODIES = re.compile(r"(\$_?\$.*?\$_?\$)", re.DOTALL)


def normalise(text: str) -> str:
    """A dump of pg_dump without what is foreign to the schema; the functions' bodies stay as they are."""
    parts = BODIES.split(text)
    parts[::2] = [re.sub(r"\n{3,}", "\n\n", FOREIGN.sub("", part)) for part in parts[::2]]
    return HEADER + "\n" + "".join(parts).strip() + "\n"


def dump(bin_dir: Path, url: str) -> str:
    """The schemas public and payments of the database, normalised; pg_dump may not be older than the server."""
    done = subprocess.run([str(bin_dir / "pg_dump"), *DUMP, url], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pg_dump of {bin_dir} failed:\n{done.stderr}")
    return normalise(done.stdout)


def migrated(postgres: Postgres, regime: platform.Regime) -> str:
    """Makes a database of the regime, pushes the migrations to it, and returns a URL of it."""
    postgres.create_database(regime)
    url = postgres.dsn(dbname=regime)
    platform.install(url, regime=regime, password=postgres.password)
    supabase_cli.db_push(postgres.dsn(user="postgres", dbname=regime))
    return url


def main() -> None:
    """Writes schema.sql from an empty database and the migrations."""
    with Postgres() as postgres:
        text = dump(postgres.bin_dir, migrated(postgres, "explicit"))
    unfinished = FILE.with_suffix(".new")
    unfinished.write_text(text)
    unfinished.replace(FILE)


if __name__ == "__main__":
    main()
