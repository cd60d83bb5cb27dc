"""The commands that the documentation shows."""

import re
import shlex
from pathlib import Path

from relay.cli import COMMANDS, command_of

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "deploy" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
LINKING = [
    *PAGES,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "relay/README.md")),
]
"""The pages whose links are tried: those with commands for operators, and the others."""
GROUP = "3f0c1f0e-6f1f-4a7d-9d1e-2b7c5a1d9e10"
SWEEP = '{"known": 0, "applied": 0, "rejected": [], "unmatched": [], "failed": [], "paid_here_only": []}'
PROGRAMS = ("supabase", "stripe", "psql", "docker", "fly", "npm", "npx", "pip", "git", "systemctl", "curl", "pg_dump")
"""What the documentation has people run beside `relay` and `make`."""
NAMES = [command_of(name).NAME for name in COMMANDS]


def commands(text: str) -> list[str]:
    """Each `relay …` of a text, in a block or in the line, without what the shell does around it."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL) or [text]
    found = re.findall(r"^\s*(?:\S*bin/)?relay ([^\n]+)$", "\n".join(blocks), re.MULTILINE)
    found += re.findall(r"`relay ([^`\n]+)`", text)
    parts = [part for line in found for part in re.split(r"; relay ", line)]
    return [re.split(r"\s+(?:#|\||>|&&|\\)\s?|;", part)[0].strip() for part in parts]


def typed(text: str) -> list[str]:
    """Each line of a text's blocks for a shell, and each command in a sentence that begins with one of PROGRAMS."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.split(r"\s+#", line)[0].strip() for line in lines]
    found += re.findall(rf"`((?:{'|'.join(PROGRAMS)}) [^`]+)`", text)
    return [re.sub(r"\s+", " ", command) for command in found if command and not command.startswith("#")]


def documented() -> list[tuple[str, str]]:
    pages = [(page.relative_to(ROOT).as_posix(), page.read_text()) for page in PAGES]
    helps = [(f"relay {name} --help", command_of(name).EPILOG.partition("\n\n")[0]) for name in COMMANDS]
    return [(where, command) for where, text in [*pages, *helps] for command in commands(text)]


def filled(command: str) -> list[str]:
    """The words of a command, its placeholders replaced by something that fits."""
    command = re.sub(r"https://<[^>]+>", "https://relay.example.com", command).replace("ORDER_GROUP_ID", GROUP)
    command = re.sub(r"(--since|--until) <[^>]+>", r"\1 72h", command)
    return shlex.split(re.sub(r"<[^>]+>", "x", command))
