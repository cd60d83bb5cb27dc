"""Writes the lock files anew: requirements/*.txt from pyproject.toml, and package-lock.json from package.json.

No file names a registry: pip and npm use the ones that they are configured for, and the hashes tell whether
they got the same files. Pins stay as they are unless `--upgrade` is given.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from setup import ROOT, environment, npm_command

UV_REQUIREMENTS = "requirements/uv.txt"
# The oldest Python that is supported, and every platform: one file serves all.
COMPILE = ["pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
PLAIN = ["--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate"]
TARGETS = {
    "requirements/runtime.txt": ["pyproject.toml"],
    "requirements/dev.txt": ["pyproject.toml", "--group", "dev"],
    "requirements/init.txt": ["pyproject.toml", "--extra", "init"],
    "requirements/notify.txt": ["pyproject.toml", "--extra", "notify"],
    "requirements/report.txt": ["pyproject.toml", "--extra", "report"],
    "requirements/desk.txt": ["pyproject.toml", "--extra", "desk"],
    "requirements/workers.txt": ["pyproject.toml", "--extra", "workers"],
    "requirements/versions.txt": ["--group", "versions"],
    "requirements/bench.txt": ["pyproject.toml", "--group", "bench"],
    "requirements/build.txt": ["--group", "build"],
    # Goes into the same environment as dev.txt.
    "requirements/browser.txt": ["--group", "browser", "--constraint", "requirements/dev.txt"],
}


def main() -> None:
    """Write all lock files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that pyproject.toml allows")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    with tempfile.TemporaryDirectory(prefix="lock-") as temporary:
        run([sys.executable, "-m", "venv", temporary])
        python = str(Path(temporary) / "bin/python")
        install = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", UV_REQUIREMENTS]
        run([python, "-m", "pip", *install])
        for target, sources in TARGETS.items():
            run([python, "-m", "uv", *COMPILE, *PLAIN, *upgrade, *sources, "--output-file", target])
    for folder in (".", "bench/peers"):
        run([*npm_command(), "--prefix", folder, "update" if upgrade else "install", "--package-lock-only"])


def run(command: list[str]) -> None:
    """Run one step in the clone, its output in plain sight. Raises CalledProcessError."""
    subprocess.run(command, cwd=ROOT, env=environment(), check=True)


if __name__ == "__main__":
    main()
