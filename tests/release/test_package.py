"""The wheel and the sdist: what they hold, and that the wheel alone, in an empty environment, takes a payment."""

from __future__ import annotations

import configparser
import email
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Mapping
from email.message import Message
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import relay
from local_stack.process import GuardedProcess
from local_stack.surface import StackSurface
from testkit.relay_process import RelayProcess
from testkit.shop import paid, shop_on
from testkit.stripe_events import deliver, encode

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def build(source: Path, target: Path, *kinds: str) -> list[Path]:
    """Build as a release does, with the build backend that the set-up installed."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run([*command, *(f"-t{kind}" for kind in kinds)], cwd=source, check=True, capture_output=True)
    return sorted(target.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Wheel and sdist."""
    wheel, sdist = build(ROOT, tmp_path_factory.mktemp("built"), "wheel", "sdist")
    return wheel, sdist


@pytest.fixture(scope="module")
def wheel(built: tuple[Path, Path]) -> zipfile.ZipFile:
    return zipfile.ZipFile(built[0])


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def contents(archive: zipfile.ZipFile) -> dict[str, str]:
    return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def relative(folder: str, pattern: str) -> set[str]:
    paths = (path for path in (ROOT / folder).glob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT)) for path in paths}


MIGRATIONS = relative("supabase/migrations", "*.sql") | relative("supabase/queues", "*.sql")


def test_wheel_holds_the_relay_its_migrations_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    migrations = {name.replace("supabase", "relay", 1) for name in MIGRATIONS}
    info = {f"order_group_relay-{relay.__version__}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD")}
    info |= {
        f"order_group_relay-{relay.__version__}.dist-info/{name}" for name in ("entry_points.txt", "licenses/LICENSE")
    }

    assert set(wheel.namelist()) == relative("relay", "**/*") | migrations | info


def test_sdist_holds_what_the_wheel_is_built_from_and_nothing_of_tests_or_local_stack(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert names == relative("relay", "**/*") | MIGRATIONS | {
        ".env.example",
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
        "requirements/runtime.txt",
    }


def test_wheel_built_from_the_sdist_is_the_wheel_built_from_the_clone(
    built: tuple[Path, Path], wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    subprocess.run(["tar", "-xf", str(built[1]), "-C", str(tmp_path)], check=True)
    (unpacked,) = tmp_path.iterdir()

    (again,) = build(unpacked, tmp_path / "again", "wheel")

    assert contents(zipfile.ZipFile(again)) == contents(wheel)


def test_version_stands_in_one_place_and_the_changelog_tells_of_it(metadata: Message) -> None:
    assert metadata["Version"] == relay.__version__
    assert "version" not in PROJECT
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    # Before the first release there is nothing but what is unreleased.
    assert headings[1:2] in ([], [relay.__version__])


def test_metadata_ask_for_the_dependencies_of_the_project_alone(metadata: Message, wheel: zipfile.ZipFile) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert set(map(Requirement, needed)) == set(map(Requirement, PROJECT["dependencies"]))
    assert metadata["Requires-Python"] == PROJECT["requires-python"]

    scripts = configparser.ConfigParser()
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    scripts.read_string(wheel.read(name).decode())
    assert dict(scripts["console_scripts"]) == {"relay": "relay.cli:main"}


def test_package_and_image_name_the_licence_whose_text_they_carry(metadata: Message, wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("/licenses/LICENSE"))
    text = (ROOT / "LICENSE").read_bytes()
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="(.+?)"', (ROOT / "Containerfile").read_text()))

    # https://www.apache.org/licenses/LICENSE-2.0.txt, to the letter
    assert hashlib.sha256(text).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert wheel.read(name) == text
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    described = {"title": relay.NAME, "description": metadata["Summary"], "licenses": metadata["License-Expression"]}
    assert labels == described


def locked(lock: str) -> Iterator[str]:
    """The distributions of a lock file; production installs from `runtime`."""
    for line in (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==", line):
            yield match[1]


def link_dependencies(target: Path, lock: str) -> None:
    """What `pip install -r requirements/<lock>.txt` would unpack there, taken from the packages that the tests run
    with; so no registry is asked. Anything that is not locked for production is not there."""
    target.mkdir()
    for name in locked(lock):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # its marker is for another platform
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            link = target / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))


@pytest.fixture(scope="module")
def program(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script in an environment that holds the wheel and what production locks."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home / "venv", with_pip=False, symlinks=True)
    python = home / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--no-index"]
    subprocess.run([*pip, "--no-deps", str(built[0])], check=True, capture_output=True)
    link_dependencies(home / "dependencies", "runtime")
    (packages,) = (home / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{home / 'dependencies'}\n")
    return python.with_name("relay")


def run(program: Path, *arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), *arguments]
    return subprocess.run(
        command, cwd=cwd, env={"PATH": os.defpath, **env}, capture_output=True, text=True, check=False
    )


def test_installed_program_tells_its_version_and_is_not_the_clones(program: Path, tmp_path: Path) -> None:
    assert run(program, "--version", cwd=tmp_path).stdout == f"relay {relay.__version__}\n"
    where = [str(program.with_name("python")), "-c", "import relay; print(relay.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert Path(found).is_relative_to(program.parent.parent)


def test_installed_program_brings_the_migrations_into_a_project(program: Path, tmp_path: Path) -> None:
    link_dependencies(tmp_path / "extra", "init")
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase" / "config.toml").write_text('project_id = "shop"\n')

    done = run(program, "init", ".", "--json", cwd=tmp_path, PYTHONPATH=str(tmp_path / "extra"))

    assert (done.returncode, done.stderr) == (0, "")
    written = {f"supabase/migrations/{name}" for name in json.loads(done.stdout)["missing"]}
    assert written == relative("supabase/migrations", "*.sql")
    for name in written:
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()


def test_installed_program_says_what_it_lacks_to_read_a_project(program: Path, tmp_path: Path) -> None:
    (tmp_path / "supabase").mkdir()
    (tmp_path / "supabase" / "config.toml").write_text('project_id = "shop"\n')

    done = run(program, "init", ".", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "relay: relay init needs pglast and psycopg: pip install --require-hashes -r requirements/init.txt, "
        "or the package with its extra `init`\n"
    )
    assert not (tmp_path / "supabase" / "migrations").exists()


class InstalledRelay(RelayProcess):
    """The console script of the wheel, in a folder that holds nothing."""

    def __init__(self, program: Path, *, env: Mapping[str, str], home: Path) -> None:
        super().__init__(env=env, log=home / "relay.log")
        self._program = program
        self._home = home

    def launch(self) -> GuardedProcess:
        own = {"PATH": os.defpath, "RELAY_HOST": self.host, "RELAY_PORT": str(self.port)}
        return GuardedProcess([str(self._program), "serve"], log=self.log, env={**own, **self._env}, cwd=self._home)


def test_installed_program_takes_a_payment(program: Path, stack: StackSurface, tmp_path: Path) -> None:
    installed = InstalledRelay(program, env=stack.env(), home=tmp_path)
    with shop_on(stack) as shop:
        group = shop.order_group()

    installed.start()
    try:
        answer = deliver(installed.webhook_url, encode(paid(group)), secret=stack.stripe_webhook_secret)
    finally:
        installed.stop()

    assert (answer.status, answer.body["outcome"], answer.body["order_group_id"]) == (200, "applied", str(group.id))
