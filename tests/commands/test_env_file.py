"""`--env-file FILE`: settings from a file. The environment wins, and no line is passed over in silence."""

import os
from argparse import Namespace
from pathlib import Path

import pytest

from relay.commands.env_file import load
from relay.config import VARIABLES, Settings
from testkit.command_line import run
from testkit.data_api_server import DataApi
from testkit.relay_under_test import environ

pytestmark = pytest.mark.anyio

FILE = """\
# settings of a relay
export STRIPE_SECRET_KEY=from-the-file   # a comment

STRIPE_WEBHOOK_SECRET="whsec_a, whsec_b"
SUPABASE_URL='https://${REF}.supabase.co'
SUPABASE_SERVICE_ROLE_KEY=a=b#c
RELAY_HOST=
RELAY_LOG_LEVEL = debug
"""


def loaded(path: Path, **environment: str) -> dict[str, str]:
    environment = dict(environment)
    load(Namespace(env_file=path), environment)
    return environment


def test_a_file_is_read_as_a_shell_reads_it_but_replaces_nothing(tmp_path: Path) -> None:
    file = tmp_path / "relay.env"
    file.write_text(FILE)

    assert loaded(file, REF="x") == {
        "REF": "x",
        "STRIPE_SECRET_KEY": "from-the-file",
        "STRIPE_WEBHOOK_SECRET": "whsec_a, whsec_b",
        "SUPABASE_URL": "https://${REF}.supabase.co",
        "SUPABASE_SERVICE_ROLE_KEY": "a=b#c",
        "RELAY_HOST": "",
        "RELAY_LOG_LEVEL": "debug",
    }


def test_what_the_environment_sets_wins_and_blank_or_kubernetes_text_sets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "relay.env"
    file.write_text("RELAY_HOST=10.0.0.1\nRELAY_PORT=9000\nRELAY_LOG_LEVEL=debug\n")

    assert loaded(file, RELAY_HOST="127.0.0.1", RELAY_PORT="tcp://10.3.0.9:8080", RELAY_LOG_LEVEL=" ") == {
        "RELAY_HOST": "127.0.0.1",
        "RELAY_PORT": "9000",
        "RELAY_LOG_LEVEL": "debug",
    }


def test_the_example_file_is_one_that_is_understood() -> None:
    example = Path(__file__).parent.parent.parent / ".env.example"

    # Where to listen is often the host's to say, and what the file sets would win.
    hosts = {"RELAY_HOST", "RELAY_PORT"}
    assert loaded(example) == {name: value for name, value in VARIABLES.items() if name not in hosts}
    with pytest.raises(ValueError, match="STRIPE_SECRET_KEY: is missing"):
        Settings.from_env(loaded(example), now=0)


async def test_a_command_runs_with_the_settings_of_a_file_alone(data_api: DataApi, tmp_path: Path) -> None:
    file = tmp_path / "relay.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in environ(data_api.url).items()))

    before_the_action = await run("exceptions", "--env-file", str(file), "list", "--json", env={})
    after_the_action = await run("exceptions", "list", "--json", "--env-file", str(file), env={})
    check = await run("check", "--env-file", str(file), env={})

    assert before_the_action == after_the_action
    assert [call.function.partition("?")[0] for call in data_api.calls] == [
        "list_payment_exceptions",
        "list_payment_exceptions",
        "reconciliation_readiness",
        "reconcile_order_group_payments",
        "payments_by_mode",
    ]
    assert (check[0], check[2]) == (0, "")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, ": No such file or directory"),
        (b"\xff\xfe", ": is not UTF-8"),
        (b"A=1\n\n\nthis is no setting\n", ", line 4: must be NAME=value"),
        (b"RELAY_PORT\n", ", line 1: must be NAME=value"),
        (b'A="1\n', ", line 1: must be NAME=value"),
        (b"A-B=1\n", ", line 1: must be NAME=value"),
        (b"=1\n", ", line 1: must be NAME=value"),
        (b"'A=B'=1\n", ", line 1: must be NAME=value"),
        (b"A=1\0\n", ", line 1: must be NAME=value"),
    ],
)
async def test_a_file_that_cannot_be_read_is_status_2_in_one_line(
    content: bytes | None, fault: str, tmp_path: Path
) -> None:
    file = tmp_path / "relay.env"
    if content is not None:
        file.write_bytes(content)

    ended = await run("check", "--env-file", str(file), env=environ("http://127.0.0.1:9"))

    assert ended == (2, "", f"relay: {file}{fault}\n")


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert await run("check", "--env-file", str(tmp_path), env={}) == (2, "", f"relay: {tmp_path}: Is a directory\n")


def test_without_the_option_nothing_changes() -> None:
    before = dict(os.environ)

    load(Namespace())

    assert dict(os.environ) == before
