"""The front door: whatever ends a command is one line on stderr and one exit status, told in one place."""

import argparse
import errno
import signal
from asyncio.subprocess import STDOUT
from collections.abc import Iterator

import pytest

from relay import __version__, cli
from relay.commands import check
from relay.commands.endings import CommandError
from relay.config import SettingsError
from relay.core.errors import Declined, NoVerdict
from relay.core.outcomes import Reason
from testkit.command_line import run, run_unread, running
from testkit.data_api_server import DataApi, Reset, Wait
from testkit.relay_under_test import environ
from testkit.stripe_api_server import StripeServer
from testkit.stripe_endpoints import endpoint
from testkit.stripe_events import STRIPE_KEY

pytestmark = pytest.mark.anyio

# What asks the Data API first; `sweep` begins with Stripe, and has an interruption of its own in its tests.
ASKING = [
    ["check"],
    ["explain", "3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10"],
    ["exceptions", "list"],
    ["exceptions", "show", "1"],
    ["report", "--since", "1d"],
    ["simulate", "--create", "--scenario", "paid"],
]


@pytest.mark.parametrize(
    ("failure", "line", "status"),
    [
        (CommandError("there is no such thing"), "there is no such thing", 2),
        (CommandError("there is no such thing", 1), "there is no such thing", 1),
        (SettingsError("The settings are not usable"), "The settings are not usable", 2),
        (Declined("the exception was closed"), "the exception was closed", 1),
        (
            NoVerdict(Reason.UNAUTHORIZED, "42501"),
            "the Data API gave no usable answer: unauthorized (42501); the key's role may not do this: run `select "
            "payments.restore_privileges();` as postgres",
            2,
        ),
        (
            NoVerdict(Reason.UNEXPECTED, "KeyError"),
            "the Data API gave no usable answer: unexpected (KeyError); see the project's log",
            2,
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.html"),
            "a.html: No such file or directory",
            2,
        ),
        (KeyboardInterrupt(), "interrupted", 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
async def test_a_failure_is_one_line_on_stderr_and_its_status(
    failure: BaseException, line: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise failure

    monkeypatch.setattr(check, "run", fail)

    assert cli.main(["check"]) == status
    assert capsys.readouterr() == ("", f"relay: {line}\n")


@pytest.mark.parametrize("fault", [KeyError("a mistake of ours"), OSError(errno.EBADF, "Bad file descriptor")])
async def test_a_fault_of_the_programs_own_keeps_its_traceback(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise fault

    monkeypatch.setattr(check, "run", fail)

    with pytest.raises(type(fault)):
        cli.main(["check"])


@pytest.mark.parametrize("command", ASKING, ids=" ".join)
async def test_ctrl_c_ends_a_command_with_130_and_one_line(command: list[str], data_api: DataApi) -> None:
    data_api.always = Wait()
    async with running(*command, env=environ(data_api.url, STRIPE_SECRET_KEY=STRIPE_KEY)) as process:
        await data_api.arrived.wait()

        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()

    assert (process.returncode, output, errors) == (130, b"", b"relay: interrupted\n")


async def test_a_reader_that_has_gone_changes_no_exit_status(data_api: DataApi) -> None:
    """As `relay check | head` may end, with `set -o pipefail`."""
    env = environ(data_api.url)

    assert await run_unread("check", "--json", env=env) == (0, "")
    assert await run_unread("check", "--help", env={}) == (0, "")
    data_api.always = Reset()
    assert await run_unread("check", "--json", env=env) == (1, "")
    assert (await run_unread("check", env={}))[0] == 2
    assert await run_unread("check", env={}, stderr=STDOUT) == (2, "")


async def test_output_that_nobody_takes_while_the_command_still_writes_is_status_2_and_said() -> None:
    async with StripeServer().listening() as stripe:
        stripe.endpoints += [endpoint("https://relay.example.com/api/stripe/webhook", ["*"]) for _ in range(200)]
        env = {"STRIPE_SECRET_KEY": STRIPE_KEY, "STRIPE_API_BASE": stripe.url}

        assert (await run("endpoint", "check", "--json", env=env)).status == 0
        ended = await run_unread("endpoint", "check", "--json", env=env)

    assert ended == (2, "relay: cannot write the output: Broken pipe\n")


async def test_relay_alone_prints_the_help() -> None:
    assert await run(env={}) == await run("--help", env={})
    assert (await run(env={}))[0] == 0


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("swep", "did you mean `relay sweep`?"),
        ("exception", "did you mean `relay exceptions`?"),
        ("refund", "`relay --help` lists them"),
    ],
)
async def test_an_unknown_command_is_status_2_and_the_nearest_is_named(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([word, "--json"]) == 2
    assert capsys.readouterr() == ("", f"relay: there is no command {word!r}; {hint}\n")


@pytest.mark.parametrize("words", ["--env-file .env check", "--env-file=.env check", "--json check", "--jsn check"])
async def test_an_option_before_the_command_is_told_where_it_belongs(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words.split()) == 2
    assert capsys.readouterr() == (
        "",
        f"relay: options come after the command: relay check {words.split()[0]}\n",
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("sweep --sinc 72h", "relay sweep: error: the following arguments are required: --since; did you mean --since, "
         "not --sinc?"),
        ("check --jsn", "relay check: error: unrecognized arguments: --jsn; did you mean --json?"),
        ("check --js", "relay check: error: unrecognized arguments: --js; did you mean --json?"),
        ("exceptions list --fail-if-eny --jsn", "relay exceptions list: error: unrecognized arguments: --fail-if-eny "
         "--jsn; did you mean --fail-if-any, not --fail-if-eny, --json, not --jsn?"),
        ("exceptions reslve 17", "relay exceptions: error: argument ACTION: invalid choice: 'reslve' (choose from "
         "'list', 'show', 'resolve', 'reopen'); did you mean resolve?"),
        ("check --xyz", "relay check: error: unrecognized arguments: --xyz"),
    ],
)  # fmt: skip
async def test_a_mistyped_option_is_status_2_and_the_nearest_is_named(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())

    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.splitlines()[-1] == told


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        ("exceptions list --reason nope", "'totals_inconsistent')"),  # near to a status, `open`, and to no reason
        ("exceptions list --reason amount_mismach", "'totals_inconsistent'); did you mean amount_mismatch?"),
    ],
)
async def test_the_nearest_choice_is_one_of_the_same_option(
    words: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(words.split())

    assert capsys.readouterr().err.rstrip().endswith(ending)


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser of every command and of every action."""
    for action in parser._actions:  # noqa: SLF001  argparse tells them in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                yield child
                yield from parsers(child)


async def test_every_command_and_every_action_takes_a_file_of_settings() -> None:
    everywhere = list(parsers(cli._parser()))  # noqa: SLF001  the whole command line

    assert {parser.prog for parser in everywhere} >= {*(f"relay {name}" for name in cli.COMMANDS)}
    assert [parser.prog for parser in everywhere if "--env-file FILE" not in parser.format_help()] == []


async def test_main_is_what_python_dash_m_runs() -> None:
    status, output, errors = await run("--version", env={})

    assert (status, output, errors) == (0, f"relay {__version__}\n", "")
