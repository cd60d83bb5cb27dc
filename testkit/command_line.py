"""`relay COMMAND` as an operator runs it, with nothing of the developer's shell in its environment.

Most of a command's time is the import of its libraries. `run`, which tests call hundreds of times, forks a process that
has imported them; a command that a test sees from its first moment to its last, and may signal, is `running`.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import multiprocessing
import os
import pty
import signal
import struct
import sys
import tempfile
import termios
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import relay
from local_stack.supabase_cli import REPOSITORY
from relay.cli import COMMANDS, main
from relay.config import VARIABLES
from testkit.stripe_events import Json

# Far above what any of it takes: what would never end is ended.
PATIENCE_SECONDS = 60

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["testkit.command_line", *COMMANDS.values()])


class Ended(NamedTuple):
    """A command that has run."""

    status: int | None
    output: str
    errors: str


@asynccontextmanager
async def running(
    *arguments: str, env: Mapping[str, str], code: Path = REPOSITORY, stdout: int = PIPE, stderr: int = PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command while it runs; it and what it has started are killed at the end of the block.

    `env` is all that it finds beside PATH; `code` is the folder whose package `relay` runs.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # not what lies in the folder where it runs
        "-m",
        "relay",
        *arguments,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(code), **env},
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def run(*arguments: str, env: Mapping[str, str], code: Path = REPOSITORY) -> Ended:
    """Run a command to its end; `env` and `code` as above.

    It is forked where nothing but the relay's own settings is in `env`: libraries read theirs while they are imported.
    """
    if code != REPOSITORY or not env.keys() <= VARIABLES.keys():
        async with running(*arguments, env=env, code=code) as process:
            output, errors = await process.communicate()
        return Ended(process.returncode, output.decode(), errors.decode())
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, stream) for stream in ("stdout", "stderr")]
        forked = _FORKING.Process(target=_be_relay, args=(arguments, {"PATH": os.environ["PATH"], **env}, files))
        forked.start()
        try:
            await asyncio.to_thread(forked.join, PATIENCE_SECONDS)
        finally:
            forked.kill()
            forked.join()
        return Ended(forked.exitcode, *(file.read_text() for file in files))


async def run_unread(*arguments: str, env: Mapping[str, str], stderr: int = PIPE) -> tuple[int | None, str]:
    """Run a command whose reader has gone before it writes, and return its exit status and what it says on stderr. With
    STDOUT, stderr has no reader either.
    """
    reader, writer = os.pipe()
    os.close(reader)
    try:
        async with running(*arguments, env=env, stdout=writer, stderr=stderr) as process:
            _, errors = await process.communicate()
    finally:
        os.close(writer)
    return process.returncode, (errors or b"").decode()


def _be_relay(arguments: tuple[str, ...], env: dict[str, str], files: list[Path]) -> None:
    assert Path(relay.__file__).is_relative_to(REPOSITORY), "the code that was imported is not the code under test"
    os.setsid()
    streams = [os.open(os.devnull, os.O_RDONLY), *(os.open(file, os.O_WRONLY | os.O_CREAT) for file in files)]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115  as long as the process
        for number, mode in enumerate(("r", "w", "w"))
    )
    os.environ.clear()
    os.environ.update(env)
    sys.exit(main(arguments))


@asynccontextmanager
async def at_terminal(*arguments: str, env: Mapping[str, str], columns: int = 80) -> AsyncIterator[Terminal]:
    """A command whose three streams are a terminal that is `columns` wide, until the block ends."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "relay", *arguments),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield Terminal(process, ours)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        os.close(ours)


@dataclass(slots=True)
class Terminal:
    """A command at a terminal, and what it has written there."""

    process: asyncio.subprocess.Process
    _descriptor: int
    written: str = ""

    async def until(self, text: str) -> str:
        """Everything that is written until this text is there."""
        while text not in self.written:
            assert await self._more(), self.written
        return self.written

    async def ended(self) -> Ended:
        """Wait for the end. Both of the command's streams are the output."""
        while await self._more():
            pass
        return Ended(await self.process.wait(), self.written, "")

    async def _more(self) -> bool:
        try:
            found = await asyncio.to_thread(os.read, self._descriptor, 65536)
        except OSError as error:  # nobody holds the terminal's other end any more
            if error.errno != errno.EIO:
                raise
            return False
        self.written += found.decode().replace("\r\n", "\n")
        return bool(found)


@dataclass(slots=True)
class Serving:
    """A running `relay serve` whose log is read line by line."""

    process: asyncio.subprocess.Process
    url: str = ""
    lines: list[Json] = field(default_factory=list)

    async def line(self) -> Json:
        """The next line of the log."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line.startswith(b"{"), line or await self._last_words()
        self.lines.append(json.loads(line))
        return self.lines[-1]

    async def _last_words(self) -> str:
        assert self.process.stderr is not None
        return f"the relay has ended: {(await self.process.stderr.read()).decode()}"


@asynccontextmanager
async def serve(*options: str, env: Mapping[str, str]) -> AsyncIterator[Serving]:
    """`relay serve`, from the line that names its address on. The block has PATIENCE_SECONDS."""
    async with running("serve", *options, env=env) as process, asyncio.timeout(PATIENCE_SECONDS):
        relay = Serving(process)
        relay.url = (await relay.line())["message"].removeprefix("Listening on ")
        yield relay
