"""Starts `relay serve --workers N`: several processes on one port, run by gunicorn.

One process uses one core. gunicorn forks the workers, replaces a worker that dies, and passes SIGTERM on to them. Each
worker has the same connections, limits and draining as a single process; relay.server.gunicorn_settings configures
them. This process becomes gunicorn's main process, so that signals reach gunicorn directly.

`/metrics` shows the values of all workers together, whichever answers. prometheus-client keeps them in files that the
workers share, in a folder that each run makes for itself, below PROMETHEUS_MULTIPROC_DIR where that is set.
https://prometheus.github.io/client_python/multiprocess/
"""

import os
import sys
import tempfile
from typing import NoReturn

from relay.config import Settings
from relay.metrics import SHARED_FOLDER
from relay.server.listening import open_sockets


def replace_process(settings: Settings, count: int) -> NoReturn:
    """Replace this process with gunicorn, which runs `count` workers.

    Raises CannotListen, and OSError where the folder for the metrics cannot be made.
    """
    listening = open_sockets(settings)
    # prometheus-client reads the variable when it is imported, so it must be set before gunicorn starts. Every run has
    # a folder of its own, which gunicorn_settings removes at the end: the counts of an earlier run would be added.
    folder = tempfile.mkdtemp(prefix="relay-metrics-", dir=os.environ.get(SHARED_FOLDER) or None)
    options = [
        "--config",
        "python:relay.server.gunicorn_settings",
        "--workers",
        str(count),
    ]
    for one in listening:
        one.set_inheritable(True)
        options += ["--bind", f"fd://{one.fileno()}"]
    os.execve(  # noqa: S606  no shell is wanted
        sys.executable,
        [sys.executable, "-m", "gunicorn", *options, "relay.server.gunicorn_settings:worker"],
        {**os.environ, SHARED_FOLDER: folder},
    )
