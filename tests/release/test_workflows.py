"""The workflows: the linter notices faults, and the deployment's gates hold with the real CLI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import yaml

from local_stack import platform, supabase_cli
from local_stack.postgres import Postgres

pytestmark = pytest.mark.release

ROOT = Path(__file__).parent.parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"
LINTER = [sys.executable, str(ROOT / "scripts" / "lint_workflows.py")]
REVIEWS = "create table public.reviews (id int primary key); alter table public.reviews enable row level security;\n"


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("steps.plan.outputs.order", "steps.plam.outputs.order", "plam"),
        ("inputs.include_all", "inputs.include_al", "include_al"),
        ("needs: database", "needs: databases", "databases"),
        ("type: boolean", "type: bool", "bool"),
    ],
)
def test_fault_of_a_workflow_is_noticed(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    text = (WORKFLOWS / "deploy.yml").read_text()
    assert right in text
    spoiled = tmp_path / "deploy.yml"
    spoiled.write_text(text.replace(right, wrong, 1))

    done = subprocess.run([*LINTER, str(spoiled)], capture_output=True, text=True, check=False)

    assert (done.returncode, f'"{told}"' in done.stdout) == (1, True)


def test_no_job_may_do_more_than_its_work_needs() -> None:
    """By default nothing; whoever publishes may write there alone."""
    workflows = {path.name: yaml.safe_load(path.read_text()) for path in sorted(WORKFLOWS.glob("*.yml"))}
    read = {"contents": "read"}

    assert [workflow["permissions"] for workflow in workflows.values()] == [{}] * len(workflows)
    assert {
        (name, job): told["permissions"]
        for name, workflow in workflows.items()
        for job, told in workflow["jobs"].items()
    } == {
        ("ci.yml", "test"): read,
        ("ci.yml", "deployment"): read,
        ("ci.yml", "versions"): read,
        ("deploy.yml", "database"): read,
        ("deploy.yml", "relay"): read,
        ("release.yml", "build"): read,
        ("release.yml", "publish"): {"contents": "write"},
        ("release.yml", "image"): {
            "contents": "read",
            "packages": "write",
            "id-token": "write",
            "attestations": "write",
        },
    }


def test_images_are_published_after_the_tests_with_provenance_and_sbom_for_all_to_verify() -> None:
    job = yaml.safe_load((WORKFLOWS / "release.yml").read_text())["jobs"]["image"]
    build, provenance, sbom, verify = job["steps"][1:]
    verified = re.findall(r"gh attestation verify .*", verify["run"])

    assert (job["needs"], "--push" in build["run"]) == ("build", True)
    assert "--provenance mode=max --sbom true" in build["run"]
    assert "sbom-path" not in provenance["with"]
    assert sbom["with"]["sbom-path"] in build["run"]
    assert {step["with"]["subject-digest"] for step in (provenance, sbom)} == {"${{ steps.push.outputs.digest }}"}
    # The page shows what the workflow itself has done.
    assert all(line in (ROOT / "docs" / "hosts.md").read_text() for line in verified)
    assert len(verified) == 2


def steps() -> dict[str, dict[str, Any]]:
    """The deployment's steps of the database, by name, as far as they push."""
    jobs = yaml.safe_load((WORKFLOWS / "deploy.yml").read_text())["jobs"]
    named = {step["name"]: step for step in jobs["database"]["steps"] if "name" in step}
    plan, shown, applied = "No name or version is taken, no file is missing", "What would be applied", "Apply it"
    assert [name for name in named if name in (plan, shown, applied)] == [plan, shown, applied]
    return {"plan": named[plan], "shown": named[shown], "applied": named[applied]}


@dataclass(frozen=True, slots=True)
class Deployment:
    """A clone with a migration of the project's own that is later than ours, and was pushed before."""

    clone: Path
    dsn: str

    def run(self, *, include_all: str) -> tuple[str, str]:
        """The step at which it ended, or `applied`, and what that one said. As a runner does: until a step fails."""
        output = self.clone / "github_output"
        output.write_text("")
        for name, step in steps().items():
            outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
            values = {
                "${{ inputs.include_all }}": include_all,
                "${{ steps.plan.outputs.order }}": outputs.get("order", ""),
            }
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=self.clone,
                env={
                    "PATH": f"{self.clone / 'programs'}{os.pathsep}{os.environ['PATH']}",
                    "HOME": str(self.clone),
                    "TMPDIR": str(self.clone),
                    "SUPABASE_TELEMETRY_DISABLED": "1",
                    "DO_NOT_TRACK": "1",
                    "SUPABASE_DB_URL": self.dsn,
                    "GITHUB_OUTPUT": str(output),
                    **{key: values[value] for key, value in step.get("env", {}).items()},
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                return name, done.stdout
        return "applied", done.stdout

    def holds_ours(self) -> bool:
        """Whether anything of ours was applied."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("select to_regnamespace('payments') is not null").fetchone()
        return bool(row and row[0])


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def deployment(postgres: Postgres, tmp_path: Path) -> Deployment:
    name = f"project_{uuid4().hex[:12]}"
    postgres.create_database(name)
    platform.install(postgres.dsn(dbname=name), password=postgres.password)
    dsn = postgres.dsn(user="postgres", dbname=name)
    migrations = tmp_path / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (tmp_path / "supabase" / "config.toml").write_text('project_id = "shop"\n')
    (migrations / "20990101000000_create_reviews.sql").write_text(REVIEWS)
    supabase_cli.db_push(dsn, project_dir=tmp_path)
    for file in (ROOT / "supabase" / "migrations").iterdir():
        (migrations / file.name).write_bytes(file.read_bytes())
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    programs = tmp_path / "programs"
    programs.mkdir()
    # Not each machine has the Node that npx is of.
    npx = programs / "npx"
    npx.write_text(f'#!/bin/sh\nshift 2\nexec "{supabase_cli.cli_path()}" "$@"\n')
    npx.chmod(0o755)
    return Deployment(tmp_path, dsn)


def test_migrations_that_are_older_than_the_last_one_wait_for_a_persons_word(deployment: Deployment) -> None:
    step, said = deployment.run(include_all="false")

    assert (step, "--include-all" in said) == ("shown", True)
    assert not deployment.holds_ours()


def test_persons_word_applies_them_and_counts_only_where_it_is_needed(deployment: Deployment) -> None:
    assert deployment.run(include_all="true")[0] == "applied"
    assert deployment.holds_ours()

    forgotten = deployment.clone / "supabase" / "migrations" / "20250101000000_forgotten.sql"
    forgotten.write_text("create table public.forgotten ();\n")
    step, said = deployment.run(include_all="true")

    assert (step, "20250101000000_forgotten.sql" in said) == ("shown", True)


def test_name_that_is_taken_ends_it_before_anything_is_applied(deployment: Deployment) -> None:
    with psycopg.connect(deployment.dsn) as owner:
        owner.execute("create table public.orders (id int primary key)")

    step, said = deployment.run(include_all="true")

    assert (step, "alter table if exists public.orders rename to shop_orders;" in said) == ("plan", True)
    assert not deployment.holds_ours()
