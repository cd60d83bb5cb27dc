"""`relay serve --workers N`: several processes on one port, kept by gunicorn (the extra `workers`).

One process uses one core. gunicorn forks, replaces a worker that dies, and passes SIGTERM on; under aiohttp's own
worker class each has the same connections, limits and draining as a single process.
relay.server.gunicorn_settings is the configuration. This process becomes gunicorn's, so that signals go straight to it.

Metrics are those of all workers together, whichever of them answers: prometheus-client keeps them in files that the
workers share, in a folder that this run makes for itself, below PROMETHEUS_MULTIPROC_DIR where that is set.
https://prometheus.github.io/client_python/multiprocess/
"""

import importlib.util
import os
import sys
import tempfile
from typing import Final, NoReturn

from relay.config import Settings, SettingsError
from relay.metrics import SHARED_FOLDER

MISSING: Final = (
    "--workers needs gunicorn, which is not installed. Install the extra: pip install 'order-group-relay[workers]'"
)


def replace_process(settings: Settings, count: int) -> NoReturn:
    """Become gunicorn with that many workers.

    Raises SettingsError where gunicorn is missing, OSError where no folder for the metrics can be made.
    """
    if importlib.util.find_spec("gunicorn") is None:
        raise SettingsError(MISSING)
    # prometheus-client looks for it when it is imported, hence before gunicorn and the workers begin. It is always this
    # run's own, and gunicorn_settings removes it at the end: counts of an earlier run would be added to these.
    folder = tempfile.mkdtemp(prefix="relay-metrics-", dir=os.environ.get(SHARED_FOLDER) or None)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    options = [
        "--config",
        "python:relay.server.gunicorn_settings",
        "--workers",
        str(count),
        "--bind",
        f"{host}:{settings.port}",
    ]
    os.execve(  # noqa: S606  no shell is wanted
        sys.executable,
        [sys.executable, "-m", "gunicorn", *options, "relay.server.gunicorn_settings:worker"],
        {**os.environ, SHARED_FOLDER: folder},
    )
