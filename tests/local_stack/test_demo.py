"""`make demo` and `make shop`, as a newcomer meets them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

from tests.local_stack.processes import processes_mentioning


def test_demo_goes_as_promised_can_be_continued_by_hand_and_leaves_nothing(open_tmp: Path) -> None:
    command = [sys.executable, "-m", "demo", "--keep"]
    environment = {**os.environ, "TMPDIR": str(open_tmp)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd="/") as demo:
        assert demo.stdout is not None
        lines: list[str] = []
        for line in demo.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1].startswith("# Look into the database"):
                break
        send = next((line for line in lines if "demo.send" in line and "--times 2" in line), None)
        assert send is not None, "\n".join(lines)
        sent = subprocess.run(shlex.split(send), capture_output=True, text=True, check=False, cwd="/")

        demo.send_signal(signal.SIGINT)
        status = demo.wait(60)

    assert [line for line in lines if "As promised" in line], "\n".join(lines)
    assert status == 0
    answers = [line.split(" ", 1) for line in sent.stdout.splitlines()]
    assert [(code, json.loads(body)["outcome"]) for code, body in answers] == [("200", "applied"), ("200", "replayed")]
    # Plain text that fits a page, where it is no terminal; commands to copy are one line each.
    prose = lines[: lines.index("It is still running")]
    assert max(len(line.rstrip()) for line in prose) <= 80
    assert "\x1b" not in "".join(lines)
    assert processes_mentioning(open_tmp) == {}
    assert list(open_tmp.iterdir()) == []


@contextmanager
def started(
    command: list[str], environment: dict[str, str], *, until: str
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A command that runs until a signal, and its output up to the line that holds a text."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd="/") as process:
        assert process.stdout is not None
        try:
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if until in line:
                    break
            yield process, lines
        finally:
            process.kill()


def test_shop_prints_the_command_of_its_desk_and_settings_for_the_others_and_leaves_nothing(open_tmp: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "USER"} | {"TMPDIR": str(open_tmp)}
    others = ("check", "simulate --create --scenario paid", "sweep --since 1h", "expire", "exceptions list")
    with started([sys.executable, "-m", "demo.storefront"], environment, until="Ctrl-C ends everything") as (
        shop,
        told,
    ):
        (command,) = [shlex.split(line) for line in told if "relay desk" in line]
        env_file = Path(command[-1])
        mode = env_file.stat().st_mode & 0o777
        with started(command, environment, until="http://") as (desk, (link,)):
            browser = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))
            browser.open(link).close()
            with browser.open(link.partition("/open/")[0] + "/stock") as page:
                stock = page.read().decode()
            desk.send_signal(signal.SIGINT)
            desk_status = desk.wait(60)
        statuses = {}
        for words in others:
            line = [command[0], *words.split(), "--env-file", str(env_file)]
            statuses[words] = subprocess.run(
                line, env=environment, cwd="/", check=False, capture_output=True
            ).returncode

        shop.send_signal(signal.SIGINT)
        status = shop.wait(60)

    assert mode == 0o600
    assert "Breakfast bowl" in stock
    assert statuses == dict.fromkeys(others, 0)
    assert (desk_status, status) == (0, 0)
    assert processes_mentioning(open_tmp) == {}
    assert list(open_tmp.iterdir()) == []
