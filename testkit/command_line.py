"""`relay` as an operator runs it: a process of its own, with nothing in its environment but what a test gives."""

import asyncio
import os
import sys


async def start(*arguments: str, env: dict[str, str]) -> asyncio.subprocess.Process:
    """A command that runs."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "relay",
        *arguments,
        env={"PATH": os.environ["PATH"], **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(*arguments: str, env: dict[str, str]) -> tuple[int | None, str, str]:
    """Exit status, output and errors of a command that has ended."""
    process = await start(*arguments, env=env)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()
