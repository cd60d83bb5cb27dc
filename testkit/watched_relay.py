"""The relay under fire: `python -m relay serve` as a process, with its log read line by line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from local_stack.supabase_cli import REPOSITORY

Json = dict[str, Any]
LINE_BYTES = 2**20


class RelayProcess:
    """One running relay."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.port = 0
        self.complaints: list[str] = []
        """Lines that no hostile or odd delivery may cause."""
        self.lines = 0

    async def listen(self) -> None:
        """Read its log until it serves."""
        assert self._process.stdout is not None
        first = await self._process.stdout.readline()
        if not first:
            raise RuntimeError("the relay did not start; what is wrong stands above")
        self.port = int(json.loads(first)["message"].rsplit(":", 1)[1])

    async def read_log(self) -> None:
        """Read to the end, and keep what is amiss."""
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            self.lines += 1
            if problem := _problem(raw):
                self.complaints.append(f"log: {problem}: {raw[:200]!r}")

    @property
    def running(self) -> bool:
        """It has not crashed."""
        return self._process.returncode is None

    @property
    def resident_bytes(self) -> int:
        """Its memory right now (Linux only)."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def _problem(raw: bytes) -> str | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return "no JSON"
    if not raw.isascii():
        return "not ASCII"
    if line["reason"] == "unexpected" or (line["outcome"] is None and line["level"] in ("warning", "error")):
        return f"a fault of the relay's own, {line['message']}"
    return None


@asynccontextmanager
async def relay_serve(env: Mapping[str, str]) -> AsyncIterator[RelayProcess]:
    """A relay on a free port with these settings and nothing of the developer's shell."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "relay", "serve"),
        env={"PATH": os.environ["PATH"], **env, "RELAY_HOST": "127.0.0.1", "RELAY_PORT": "0"},
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    running = RelayProcess(process)
    reading: asyncio.Task[None] | None = None
    try:
        await running.listen()
        reading = asyncio.create_task(running.read_log())
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if reading is not None:
            await reading
