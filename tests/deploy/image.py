"""The image, built on a base of Debian's own packages and run as its configuration says: no engine, no registry.

Storage is a directory of the test's own, so that no image of the machine's is touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_stack.http_server import HttpServer, get_status
from local_stack.process import GuardedProcess

ROOT = Path(__file__).parent.parent.parent
IMAGE = "order-group-relay"
BASE = "relay-test-base"
SUITE = "bookworm"
SUITES_PYTHON = "3.11"
PACKAGES = "python3,python3-venv,ca-certificates"
# Names a directory that debootstrap has filled already, where it should not be done again.
SYSTEM_VARIABLE = "IMAGE_TEST_SYSTEM"
# The build's commands run in a plain chroot, which works in CI machines that are containers themselves.
ISOLATION = {"BUILDAH_ISOLATION": "chroot"}
CHROOT = "/usr/sbin/chroot"  # not in the PATH that the image sets
# In a mount namespace of its own: the image's root, read-only, and its user, who holds no capability.
RUN = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && user=$2 root=$1 && shift 2 && '
RUN += f'exec {CHROOT} --userspec="$user" --groups= "$root" "$@"'


class Storage:
    """Buildah's images and containers, in a directory."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def buildah(self, *arguments: str) -> str:
        """Its output. Raises CalledProcessError after showing what it said."""
        options = ["--root", str(self._home / "root"), "--runroot", str(self._home / "run")]
        return run(["buildah", *options, *arguments])

    def make_base(self) -> None:
        """What `FROM` names: Debian's smallest system, with Python."""
        system = Path(os.environ.get(SYSTEM_VARIABLE, self._home / "debian"))
        if not system.exists():
            run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(system)])
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, str(system), "/")
        self.buildah("commit", "--quiet", "--rm", container, BASE)

    def build(self, wheels: Path) -> dict[str, Any]:
        """Build without any index, from wheels in the build context; returns the image's configuration."""
        arguments = [f"BASE=localhost/{BASE}", "PIP_NO_INDEX=1", f"PIP_FIND_LINKS=/source/{wheels.relative_to(ROOT)}"]
        options = [option for argument in arguments for option in ("--build-arg", argument)]
        self.buildah("build", "--format", "docker", "--file", "Containerfile", "--tag", IMAGE, *options, ".")
        found = json.loads(self.buildah("inspect", "--type", "image", IMAGE))
        configuration: dict[str, Any] = found["Docker"]["config"]
        return configuration

    def unpack(self) -> Path:
        """The root file system of a new container."""
        return Path(self.buildah("mount", self.buildah("from", IMAGE).strip()).strip())


def download_wheels(wheels: Path) -> None:
    """What the image installs, for the Python of the base; pip checks each against the lock files' hashes."""
    locks = [part for name in ("runtime", "build") for part in ("-r", f"requirements/{name}.txt")]
    options = ["--quiet", "--only-binary=:all:", "--python-version", SUITES_PYTHON, "--require-hashes"]
    run([sys.executable, "-m", "pip", "download", *options, *locks, "--dest", str(wheels)])


def run(command: list[str]) -> str:
    """Run one step in the clone."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **ISOLATION}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()
    return done.stdout


class Container(HttpServer):
    """The image's entry point under its user, on a root file system that nothing can be written to."""

    name = "the image"

    def __init__(self, root: Path, configuration: Mapping[str, Any], *, env: Mapping[str, str], log: Path) -> None:
        super().__init__(log=log)
        self._root = root
        self._configuration = configuration
        self._env = env

    def command(self, *command: str) -> list[str]:
        """What runs a command in the container."""
        return ["unshare", "--mount", "sh", "-c", RUN, "sh", str(self._root), self._configuration["User"], *command]

    def environment(self) -> dict[str, str]:
        """The image's own variables, the settings, and where to listen."""
        own = dict(line.split("=", 1) for line in self._configuration["Env"])
        return {**own, **self._env, "PORT": str(self.port)}

    def launch(self) -> GuardedProcess:
        """As an engine would start it."""
        command = self.command(*self._configuration["Entrypoint"], *self._configuration["Cmd"])
        return GuardedProcess(command, log=self.log, env=self.environment(), grace=25.0)

    def is_ready(self) -> bool:
        """It could reconcile."""
        return get_status(f"{self.url}/readyz") == 200

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command beside the relay, such as the health check."""
        arguments = self.command(*command)
        return subprocess.run(arguments, env=self.environment(), capture_output=True, text=True, check=False)

    def health(self) -> int:
        """The exit status of the image's own health check."""
        kind, *command = self._configuration["Healthcheck"]["Test"]
        if kind != "CMD":
            raise AssertionError(f"a health check of the kind {kind} needs a shell")
        return self.run(*command).returncode
