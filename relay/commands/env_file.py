"""`--env-file FILE`: reads settings from a file. A setting in the environment overrides the one in the file.

The file has the form of .env.example: one NAME=value per line, with comments, quotes and `export` as in a shell.
Nothing in a value is expanded. The values are set in the environment of the process, so the file may also set
HTTPS_PROXY or PGPASSWORD.
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
    """Add the option to a command, so that it is accepted before and after the name of an action."""
    parser.add_argument(
        OPTION,
        type=Path,
        metavar="FILE",
        # Otherwise the default of an action's parser would overwrite the value that the command's parser has read.
        default=argparse.SUPPRESS,
        help="read settings (NAME=value) from a file; the environment overrides them",
    )


def load(arguments: argparse.Namespace, environ: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables of the file that the environment does not set. Raises CommandError or OSError."""
    path: Path | None = getattr(arguments, "env_file", None)
    if path is not None:
        for name, value in _read(path).items():
            if not config.value_of(environ, name):
                environ[name] = value


def _read(path: Path) -> dict[str, str]:
    """Every name with its value. Raises CommandError or OSError. dotenv_values() would skip a bad line."""
    from dotenv.parser import parse_stream  # imported here, because a server without a file does not need it

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
