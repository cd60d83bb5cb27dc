"""`--env-file FILE`: settings from a file, beside those of the environment, which win.

The file is written as .env.example is: NAME=value, one per line, with comments, quotes and `export` as a shell has
them; nothing in a value is replaced. What it sets counts for the whole process, so that HTTPS_PROXY or PGPASSWORD may
stand there too.
"""

import argparse
import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from relay import config
from relay.commands.endings import CommandError

OPTION: Final = "--env-file"


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Every command takes it, before or after the name of an action."""
    parser.add_argument(
        OPTION,
        type=Path,
        metavar="FILE",
        # An action's parser would put its own default over what the command's parser has read.
        default=argparse.SUPPRESS,
        help="read settings (NAME=value) from a file; the environment's own win",
    )


def load(arguments: argparse.Namespace, environ: MutableMapping[str, str] = os.environ) -> None:
    """Add what the file sets and the environment does not. Raises CommandError or OSError."""
    path: Path | None = getattr(arguments, "env_file", None)
    if path is not None:
        for name, value in _read(path).items():
            if not config.value_of(environ, name):
                environ[name] = value


def _read(path: Path) -> dict[str, str]:
    """Every name with its value. Raises CommandError or OSError; dotenv_values() would pass over a bad line."""
    from dotenv.parser import parse_stream  # here, because a server that needs no file need not carry it

    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8") as stream:
            for line in parse_stream(stream):
                if line.key and line.key.isidentifier() and line.value is not None and "\0" not in line.value:
                    found[line.key] = line.value
                elif line.key is not None or line.error:
                    blank = len(line.original.string) - len(line.original.string.lstrip())
                    number = line.original.line + line.original.string[:blank].count("\n")
                    raise CommandError(f"{path}, line {number}: must be NAME=value")
    except UnicodeDecodeError:
        raise CommandError(f"{path}: is not UTF-8") from None
    return found
