"""docs/local-development.md: the seed of docs/dumps-and-seeds.md goes into the project of `make stack`."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import psycopg

from local_stack.__main__ import psql_command
from local_stack.stack import Stack
from tests.documented import GROUP, ROOT


def test_the_documented_seed_is_loaded_by_the_printed_command_once_and_can_be_paid(tmp_path: Path) -> None:
    """Over 30.00 USD, as much as the session of `stripe trigger`."""
    (options,) = re.findall(r"^psql '[^']+' (.+)$", (ROOT / "docs" / "local-development.md").read_text(), re.MULTILINE)
    (seed,) = re.findall(
        r"^## A seed\n.*?^```sql\n(.*?)^```",
        (ROOT / "docs" / "dumps-and-seeds.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase" / "seed.sql").write_text(seed)

    with Stack() as stack:
        command = [*shlex.split(psql_command(stack)), *shlex.split(options)]
        loads = [subprocess.run(command, cwd=tmp_path, capture_output=True, check=False) for _ in range(2)]
        with psycopg.connect(stack.dsn()) as connection:
            groups = connection.execute(
                "select id::text, status, currency, total_amount::text from public.order_groups"
            ).fetchall()
            levels = connection.execute("select name, available from public.inventory_levels").fetchall()

    assert [load.returncode for load in loads] == [0, 3], loads[0].stderr
    assert groups == [(GROUP, "pending", "USD", "30.00")]
    assert levels == [("T-shirt", 8)]
