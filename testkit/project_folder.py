"""A Supabase project's folder with a migration of its own, and `relay init` on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.cli import main

WISHES = """\
create table public.wishes (id int primary key);
alter table public.wishes enable row level security;
create policy "Everybody can read wishes" on public.wishes for select to anon using (true);
grant select on table public.wishes to anon;
create function public.count_wishes() returns bigint language sql set search_path = '' as $$
    select count(*) from public.wishes
$$;
grant execute on function public.count_wishes() to anon;
"""


class ProjectFolder:
    """A Supabase project's folder, and `relay init` on it."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self.folder = home / "supabase" / "migrations"
        self._capsys = capsys
        self.folder.mkdir(parents=True)
        (home / "supabase" / "config.toml").write_text('project_id = "shop"\n')
        self.add("20250101000000_create_wishes.sql", WISHES)

    def add(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, output, errors."""
        status = main(["init", str(self.home), *arguments])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def report(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit status and what a program reads."""
        status, output, errors = self.run("--json", *arguments)
        assert errors == ""
        report: dict[str, Any] = json.loads(output)
        return status, report

    def state(self) -> dict[str, tuple[bytes, int]]:
        """Every file with its content and when it was written."""
        files = (path for path in self.home.rglob("*") if path.is_file())
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
