"""Starts `relay serve --workers N`: several processes on one port, run by gunicorn.

One process uses one core. gunicorn forks the workers, replaces a worker that dies, and ends them. Each worker has the
same connections, limits and draining as a single process; relay.server.gunicorn_settings configures them. This process
becomes gunicorn's main process, so that signals reach gunicorn directly.

`/metrics` shows the values of all workers together, whichever answers. prometheus-client keeps them in files that the
workers share, in a folder that each run makes for itself, below PROMETHEUS_MULTIPROC_DIR where that is set. gunicorn
has there the files that tell it whether a worker is alive.
https://prometheus.github.io/client_python/multiprocess/
"""

import os
import sys
import tempfile
from typing import NoReturn

from relay.config import Settings
from relay.metrics import SHARED_FOLDER
from relay.server.listening import open_sockets


class NoFolder(Exception):
    """No folder can be made for the files of the workers. The message says what to set."""


def replace_process(settings: Settings, count: int) -> NoReturn:
    """Replace this process with gunicorn, which runs `count` workers. Raises CannotListen or NoFolder."""
    listening = open_sockets(settings)
    # prometheus-client reads the variable when it is imported, so it must be set before gunicorn starts. Every run has
    # a folder of its own, which gunicorn_settings removes at the end: the counts of an earlier run would be added.
    folder = _new_folder(os.environ.get(SHARED_FOLDER))
    options = [
        "--config",
        "python:relay.server.gunicorn_settings",
        "--workers",
        str(count),
        "--worker-tmp-dir",
        folder,
    ]
    for one in listening:
        one.set_inheritable(True)
        options += ["--bind", f"fd://{one.fileno()}"]
    os.execve(  # noqa: S606  no shell is wanted
        sys.executable,
        [sys.executable, "-m", "gunicorn", *options, "relay.server.gunicorn_settings:worker"],
        {**os.environ, SHARED_FOLDER: folder},
    )


def _new_folder(parent: str | None) -> str:
    """Raises NoFolder."""
    try:
        return tempfile.mkdtemp(prefix="relay-metrics-", dir=parent or None)
    except OSError:
        raise NoFolder(
            "relay serve --workers keeps the workers' metrics in files, and cannot write to "
            f"{parent or 'the folder for temporary files'}: set {SHARED_FOLDER} to a folder that it can write to, such "
            "as /dev/shm"
        ) from None
