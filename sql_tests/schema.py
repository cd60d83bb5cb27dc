"""What the migrations make, as text: `python -m sql_tests.schema` writes schema.sql and invariants.sql.

The schema is pg_dump's text, without what another server version or the platform around the two schemas would change.
The invariants are the query of `payments.broken_invariants()`, for psql.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from textwrap import dedent

import psycopg

from local_stack import platform, supabase_cli
from local_stack.postgres import Postgres

FILE = Path(__file__).with_name("schema.sql")
HEADER = "-- The schema after all migrations; written by `make schema`, reviewed in diffs, never applied.\n"

INVARIANTS = Path(__file__).with_name("invariants.sql")
INVARIANTS_HEADER = """\
-- What is true of money and stock at every moment. No row: all is well. A row names what is broken, and its subject.
-- Written by `make schema` from payments.broken_invariants().
--
-- One statement, so that all of it is read from one snapshot; it writes nothing, and may run beside live traffic:
--     psql "$DATABASE_URL" --no-psqlrc --set ON_ERROR_STOP=1 --file sql_tests/invariants.sql
-- Run it as `postgres`, which reads past row-level security; another role would see less and report too little.
-- Each part is a join over whole tables (hash or merge), no function per row: minutes, not hours, on a big database.

"""

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


def invariants(url: str) -> str:
    """The query of the database's own invariants, as a file for psql."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select prosrc from pg_catalog.pg_proc where oid = 'payments.broken_invariants()'::regprocedure"
        ).fetchone()
    assert row is not None
    return INVARIANTS_HEADER + dedent(row[0]).strip() + "\n"


def migrated(postgres: Postgres, regime: platform.Regime) -> str:
    """Makes a database of the regime, pushes the migrations to it, and returns a URL of it."""
    postgres.create_database(regime)
    url = postgres.dsn(dbname=regime)
    platform.install(url, regime=regime, password=postgres.password)
    supabase_cli.db_push(postgres.dsn(user="postgres", dbname=regime))
    return url


def main() -> None:
    """Writes both files from an empty database and the migrations."""
    with Postgres() as postgres:
        url = migrated(postgres, "explicit")
        texts = {FILE: dump(postgres.bin_dir, url), INVARIANTS: invariants(url)}
    for file, text in texts.items():
        unfinished = file.with_suffix(".new")
        unfinished.write_text(text)
        unfinished.replace(file)


if __name__ == "__main__":
    main()
