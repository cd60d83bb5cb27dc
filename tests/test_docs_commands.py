"""Every command that is neither the relay's nor make's is run by a test, or its reason stands here."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from local_stack import supabase_cli
from tests.documented import LINKING, ROOT, typed

# The pages whose blocks are run, line by line, and by whom.
RUN = {
    "README.md": "tests/release/test_readme.py",
    "docs/dumps-and-seeds.md": "tests/release/test_dumps.py",
    "examples/market_hall/README.md": "tests/release/test_market_hall.py",
}
# The first words of what no test here runs, and why.
NOT_RUN = {
    "ARGUMENTS=": "is a line of a job's settings; tests/deploy holds the units that read them",
    "END": "the same",
    "ONCALL=": "the same",
    "curl": "asks a relay that the unit runs; tests/deploy/test_systemd_unit.py asks the same route",
    "docker": "needs an engine; `make image-test` builds and runs the image with buildah",
    "export": "sets what tests/test_notify_worker.py gives the worker",
    "fly": "needs an account",
    "folder=": "installs under /opt; tests/deploy/test_systemd_unit.py holds the unit to what it finds there",
    "gh attestation": "asks GitHub about an image that a release has published",
    "git push": "is for the releaser alone",
    "git tag": "is for the releaser alone",
    "install": "copies to /etc; tests/deploy lets systemd and nginx judge the files",
    "kubectl": "needs a cluster; tests/test_manifests.py holds the manifest to the relay",
    "ln": "links below /opt, as `folder=` says",
    "nginx": "reloads the machine's own; tests/deploy/test_behind_nginx.py starts one with this file",
    "npm install": "the vendor's package; `make setup` installs the same one for the tests",
    "psql 'postgresql://postgres:": "tests/local_stack/test_seed.py runs it with the command that `make stack` prints",
    "python worker.py": "tests/test_notify_worker.py runs it",
    "python3 -m venv": "tests/release/test_readme.py runs it with another path",
    "sed": "fills in the names of images for kubectl; tests/test_manifests.py does the same",
    "stripe": "needs an account at Stripe",
    "supabase": "tests/release/test_readme.py pushes; here the CLI says whether it knows the words",
    "systemctl": "needs a running systemd; tests/deploy/test_systemd_unit.py lets systemd judge the unit",
    '"$folder/bin/pip"': "tests/release/test_readme.py runs it with another path",
}
OTHERS = sorted(
    {
        (page.relative_to(ROOT).as_posix(), command)
        for page in LINKING
        for command in typed(page.read_text())
        if not re.match(r"(\S*bin/)?(relay|make)\b", command)
    }
)


@pytest.mark.parametrize(("where", "command"), OTHERS)
def test_a_documented_command_is_run_or_its_reason_stands_here(where: str, command: str) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / where).read_text(), re.MULTILINE | re.DOTALL)

    assert (where in RUN and command in "".join(blocks)) or any(command.startswith(words) for words in NOT_RUN)


def test_no_reason_stands_there_for_nothing() -> None:
    assert [words for words in NOT_RUN if not any(command.startswith(words) for _, command in OTHERS)] == []
    assert all((ROOT / test).is_file() for test in RUN.values())


@cache
def flags(*words: str) -> frozenset[str]:
    """What the CLI says that this command takes."""
    shown = subprocess.run([supabase_cli.cli_path(), *words, "--help"], capture_output=True, text=True, check=True)
    assert f"supabase {' '.join(words)} " in shown.stdout.partition("USAGE")[2].partition("\n\n")[0]
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", shown.stdout))


SUPABASE = sorted({command for _, command in OTHERS if command.startswith("supabase ")})


@pytest.mark.parametrize("command", SUPABASE)
def test_the_cli_knows_the_words(command: str) -> None:
    words = re.match(r"supabase((?: [a-z]+)+)", command)
    assert words
    known = flags(*words[1].split())

    assert set(re.findall(r"(?<= )--?[a-z][a-z-]*", command)) <= known


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_command_that_may_go_to_the_local_stack_says_where_it_goes(page: Path) -> None:
    """The CLI 3 takes the local stack where nothing is said; only a reset is meant for it."""
    told = [command for command in typed(page.read_text()) if re.match(r"supabase (db|migration) (?!reset$)", command)]

    assert [command for command in told if not re.search(r" --remote\b", command)] == []
