"""The README's "Put it on your project", typed as it stands: from an empty folder to a paid order.

The database is a local project's, Stripe is our stand-in. What needs the vendors' own servers is in NOT_HERE.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from local_stack import platform, supabase_cli
from local_stack.__main__ import no_migrations
from local_stack.postgres import free_port
from local_stack.process import GuardedProcess
from local_stack.stack import Stack
from testkit.polling import until
from testkit.project import open_project
from testkit.project_folder import WISHES
from testkit.readme_checkout import CheckoutServer, basket_of
from testkit.relay_process import inherited_environment
from testkit.stripe_api_server import StripeServer
from testkit.stripe_events import COMPLETED, STRIPE_KEY, deliver, encode
from tests.documented import ROOT

pytestmark = [pytest.mark.release, pytest.mark.anyio]

NOT_HERE = {
    "supabase login": "asks Supabase's servers in a browser",
    "supabase link --project-ref abcdefghijklmnopqrst": "asks Supabase's servers for a project",
}
"""The commands that the test's `supabase` only writes down, and why."""
# The linked project is the database that DATABASE_URL names; everything else goes to the real CLI as it was typed.
SUPABASE = """\
#!/bin/sh
case "$1" in login|link) echo "supabase $*" >> "$CLI_HOME/written_down"; exit 0;; esac
first=yes
for argument; do
    [ -z "$first" ] || { set --; first=; }
    [ "$argument" = --remote ] && argument="--remote=$DATABASE_URL"
    set -- "$@" "$argument"
done
HOME=$CLI_HOME TMPDIR=$CLI_HOME exec "$SUPABASE_CLI" "$@"
"""


def steps() -> list[list[tuple[str, str]]]:
    """Each step's blocks: their language, and what stands in them."""
    section = (ROOT / "README.md").read_text().partition("## Put it on your project\n")[2].partition("\n## ")[0]
    _, *found = re.split(r"^\*\*\d\. ", section, flags=re.MULTILINE)
    return [re.findall(r"^```(\w+)\n(.*?)^```", step, re.MULTILINE | re.DOTALL) for step in found]


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell in a fresh clone, with `supabase` on its path."""

    clone: Path
    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    def environment(self, **changes: str) -> dict[str, str]:
        own = {
            "PATH": f"{self.home / 'programs'}{os.pathsep}{os.environ['PATH']}",
            "CLI_HOME": str(self.home),
            "SUPABASE_CLI": str(supabase_cli.cli_path()),
            "SUPABASE_YES": "1",  # nobody is there to be asked
            "SUPABASE_TELEMETRY_DISABLED": "1",
            "DO_NOT_TRACK": "1",
        }
        return {**inherited_environment(), **own, **self.settings, **changes}

    async def type(self, block: str, **environment: str) -> str:
        """What the commands say; the first that fails ends them and the test."""
        return await asyncio.to_thread(self._run, block, self.environment(**environment))

    def _run(self, block: str, environment: dict[str, str]) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", block],
            cwd=self.clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A clone holds what git knows, and what it will know."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    clone, home = tmp_path / "clone", tmp_path / "home"
    for name in names.split("\0"):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    (home / "programs").mkdir(parents=True)
    (home / "programs" / "supabase").write_text(SUPABASE)
    (home / "programs" / "supabase").chmod(0o755)
    return Terminal(clone, home)


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A project before the first migration."""
    with Stack(migrate=no_migrations) as opened:
        yield opened


def findings(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as editor:
        return editor.execute(statement.encode()).fetchall()


def fill_in(file: Path, values: dict[str, str]) -> None:
    """As somebody would in an editor: the lines are there, empty or behind a #."""
    text = file.read_text()
    for name, value in values.items():
        text, filled = re.subn(rf"^#?{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert filled == 1, name
    file.write_text(text)


async def test_the_readme_leads_from_an_empty_folder_to_a_paid_order(
    stack: Stack, terminal: Terminal, tmp_path: Path
) -> None:
    install, database, endpoint, settings, serve, check, simulate, checkout = steps()
    (empty, living, asks_itself) = (text.replace("<ref>", "abcdefghijklmnopqrst") for _, text in database)
    assert (endpoint, [language for language, _ in database]) == ([], ["sh", "sh", "sql"])
    assert [block[0][0] for block in (install, settings, serve, check, simulate, checkout)] == ["sh"] * 5 + ["python"]
    assert [len(block) for block in (install, settings, serve, check, simulate, checkout)] == [1] * 6

    await terminal.type(install[0][1])
    dsn = stack.dsn(user="postgres")
    await terminal.type(empty, DATABASE_URL=dsn)
    assert (terminal.home / "written_down").read_text().splitlines() == list(NOT_HERE)
    assert findings(dsn, asks_itself) == []

    await terminal.type(settings[0][1])
    port = free_port()
    key = {"STRIPE_SECRET_KEY": STRIPE_KEY}
    fill_in(terminal.clone / ".env", {**stack.env(), **key, "RELAY_HOST": "127.0.0.1", "RELAY_PORT": str(port)})
    relay = GuardedProcess(
        ["bash", "-c", serve[0][1]], log=tmp_path / "relay.log", env=terminal.environment(), cwd=terminal.clone
    )
    try:
        await until(lambda: "Listening on" in (tmp_path / "relay.log").read_text())
        checked = await terminal.type(check[0][1])
        assert {line.split()[0] for line in checked.splitlines()} == {"ok"}
        assert " 0 different" in await terminal.type(simulate[0][1])

        with open_project(stack) as project:
            async with StripeServer().listening() as stripe:
                env = {**stack.env(), **key, "STRIPE_API_BASE": stripe.url}
                shop = CheckoutServer(tmp_path, env, python=str(terminal.clone / "venv/bin/python"))
                basket = basket_of(project.shop)
                assert await shop.start_checkout(basket) == stripe.sessions[0]["url"]
                session = stripe.sessions[0] | {
                    "payment_status": "paid",
                    "status": "complete",
                    "payment_intent": "pi_1",
                }
            url = f"http://127.0.0.1:{port}/api/stripe/webhook"
            event = encode(stripe.event(session, COMPLETED))
            answer = await asyncio.to_thread(deliver, url, event, secret=stack.stripe_webhook_secret)
            (group,) = project.query("select status from public.order_groups where id = %s", basket["order_group_id"])
    finally:
        await asyncio.to_thread(relay.stop)
    assert (answer.status, answer.body["outcome"], group["status"]) == (200, "applied", "paid")

    lived_in = await bring_to_a_living_project(stack, terminal, living)
    assert findings(lived_in, asks_itself) == []
    assert findings(lived_in, "select count(*) from public.wishes") == [(0,)]


async def bring_to_a_living_project(stack: Stack, terminal: Terminal, block: str) -> str:
    """Step 2 for a project with a migration of its own; the URL of its database."""
    name = f"lives_{uuid4().hex[:8]}"
    stack.postgres.create_database(name)
    await asyncio.to_thread(platform.install, stack.dsn(dbname=name), regime="legacy", password=stack.postgres.password)
    folder = terminal.clone / "path" / "to" / "project" / "supabase"
    (folder / "migrations").mkdir(parents=True)
    (folder / "config.toml").write_text('project_id = "shop"\n')
    (folder / "migrations" / "20250101000000_create_wishes.sql").write_text(WISHES)
    dsn = stack.dsn(user="postgres", dbname=name)
    said = await terminal.type(block, DATABASE_URL=dsn)
    assert "supabase db push --remote\n" in said
    return dsn
