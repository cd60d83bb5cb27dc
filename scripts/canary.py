"""Runs the relay's suites with other versions of its libraries than the locked ones, in an environment of its own.

    newest   the newest of each, pre-releases and versions beyond pyproject.toml's ceilings included. One that cannot be
             installed, or breaks the relay's imports, is named as failed and put back: the suites tell of the rest
    floors   the oldest of each that pyproject.toml allows

The last lines say what ran and what failed; the exit status is 1 where anything did.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from setup import ROOT, environment, run

HOME = ROOT / ".canary"
# Whatever a server or a command loads.
IMPORTS = """
import importlib, pkgutil, relay.commands
for each in pkgutil.walk_packages(relay.commands.__path__, "relay.commands."):
    importlib.import_module(each.name)
"""
SUITES = [
    "tests",
    "--ignore",
    "tests/deploy",
    "--ignore",
    "tests/browser",
    "--ignore",
    "tests/real_parts",
    "-m",
    "not release",
]
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[[^\]]*\])?(?P<bounds>[^;]*)(?P<marker>;.*)?")


@dataclass(frozen=True)
class Dependency:
    """One line of `dependencies`."""

    name: str
    floor: str
    marker: str

    @property
    def without_ceiling(self) -> str:
        return f"{self.name}>={self.floor}{self.marker}"

    @property
    def at_floor(self) -> str:
        return f"{self.name}=={self.floor}{self.marker}"


def dependencies() -> list[Dependency]:
    """The relay's own, as pyproject.toml names them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = []
    for line in project["dependencies"]:
        parts = REQUIREMENT.fullmatch(line)
        floor = parts and re.search(r">=\s*([\w.]+)", parts["bounds"])
        if not parts or not floor:
            sys.exit(f"canary: {line!r} has no floor")
        found.append(Dependency(parts["name"], floor[1], parts["marker"] or ""))
    return found


class Environment:
    """A virtual environment with the locked development tools and this clone's relay."""

    def __init__(self, name: str) -> None:
        self._home = HOME / name
        self._python = str(self._home / "bin/python")

    def make(self) -> None:
        """From nothing, so that no run inherits another one's versions."""
        run(f"create .canary/{self._home.name}", [sys.executable, "-m", "venv", "--clear", str(self._home)])
        pip = [self._python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for lock in ("requirements/uv.txt", "requirements/dev.txt"):
            run(f"install {lock}", [*pip, "--require-hashes", "-r", lock])
        run("install this project", [*pip, "--no-deps", "--no-build-isolation", "--editable", "."])

    def install(self, *arguments: str) -> str:
        """Empty, or why it could not be."""
        command = [self._python, "-m", "uv", "pip", "install", "--quiet", "--python", self._python, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else _last_line(done.stderr)

    def fault(self) -> str:
        """Empty, or why the relay cannot be imported."""
        done = subprocess.run(
            [self._python, "-c", IMPORTS], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        return "" if done.returncode == 0 else _last_line(done.stderr)

    def version(self, name: str) -> str:
        ask = f"from importlib.metadata import version; print(version({name!r}))"
        done = subprocess.run([self._python, "-c", ask], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def packages(self) -> list[str]:
        """All that is installed but this project, as `name==version`."""
        command = [self._python, "-m", "uv", "pip", "freeze", "--exclude-editable", "--python", self._python]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]

    def suites(self, arguments: list[str]) -> int:
        """pytest's exit status; its output is in plain sight."""
        command = [self._python, "-m", "pytest", "-q", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
        # The anyio that goes with the oldest typing-extensions uses names that pytest has renamed.
        env = environment() | {"PYTEST_ADDOPTS": "-W ignore::pytest.PytestRemovedIn10Warning"}
        return subprocess.run([*command, *(arguments or SUITES)], cwd=ROOT, env=env, check=False).returncode


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was given"])[-1].strip()


def newest(place: Environment) -> list[str]:
    """Take the newest of each, one after the other; what failed."""
    failed = []
    for each in dependencies():
        before, usual = place.packages(), place.version(each.name)
        # `--upgrade` alone takes what it needs along, such as all of supabase-py's parts.
        fault = place.install("--upgrade", "--prerelease", "allow", each.without_ceiling)
        tried = place.version(each.name)
        if not fault:
            fault = place.fault()
        if fault:
            failed.append(f"{each.name} {tried}: {fault}")
            place.install("--no-deps", *before)
            print(f"canary: {each.name} {tried} fails, {usual} instead: {fault}", file=sys.stderr, flush=True)
    return failed


def floors(place: Environment) -> list[str]:
    """Take the oldest of each, together. Exits where they do not go together: there is nothing to run then."""
    fault = place.install(*(each.at_floor for each in dependencies())) or place.fault()
    if fault:
        sys.exit(f"canary: FAILED the floors together: {fault}")
    return []


def main() -> int:
    """Make the environment, run the suites in it, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", choices=("newest", "floors"))
    parser.add_argument("suites", nargs="*", help="what pytest runs; default: the relay's suites")
    arguments = parser.parse_args()
    place = Environment(arguments.versions)
    place.make()
    failed = newest(place) if arguments.versions == "newest" else floors(place)
    ran = ", ".join(f"{each.name} {place.version(each.name)}" for each in dependencies())
    if place.suites(arguments.suites):
        failed.append(f"the suites with {ran}: see above")
    print(f"\ncanary: ran {ran}")
    for each in failed:
        print(f"canary: FAILED {each}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
