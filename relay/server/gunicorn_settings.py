"""gunicorn's configuration for `relay serve --workers N`, and what each worker runs. Read by gunicorn itself.

The lower-case names are gunicorn's settings: https://docs.gunicorn.org/en/stable/settings.html
"""

import logging
import os
import shutil
from functools import cache
from typing import Any, Final

from gunicorn.glogging import Logger
from prometheus_client.multiprocess import mark_process_dead

from relay.config import Settings
from relay.metrics import SHARED_FOLDER
from relay.server import serving
from relay.server.app import ROOM, answer_unparsable, make_app
from relay.server.connections import Runner
from relay.server.telemetry import LibraryLog, Log

# gunicorn's timer for one worker's end begins with SIGTERM; draining and finishing must fit in.
_GRACE_SECONDS: Final = 2


@cache
def _log() -> Log:
    """One log for each process, made when its first line comes: gunicorn imports this module to read it."""
    return Log(Settings.of_process().log_level)


class JsonLogger(Logger):  # type: ignore[misc]
    """Writes gunicorn's own lines as the relay's are."""

    def setup(self, cfg: Any) -> None:
        """Replace the handlers that gunicorn sets."""
        super().setup(cfg)
        self.error_log.handlers = [LibraryLog(_log())]
        self.error_log.setLevel(logging.WARNING)


worker_class = f"aiohttp.Gunicorn{'UVLoop' if serving.HAS_UVLOOP else ''}WebWorker"
logger_class = JsonLogger
backlog = serving.BACKLOG
graceful_timeout = int(serving.LISTEN_ON_SECONDS + serving.FINISH_SECONDS) + _GRACE_SECONDS
# A worker whose event loop stands still for so long is replaced.
timeout = 30
control_socket_disable = True


def when_ready(server: Any) -> None:
    """Say where, as a single process does."""
    serving.warn_of_proxy(Settings.of_process(), _log())
    for listener in server.LISTENERS:
        host, port = listener.sock.getsockname()[:2]
        _log().write("info", f"Listening on http://{f'[{host}]' if ':' in host else host}:{port}")


def child_exit(_: Any, worker: Any) -> None:
    """Forget the gauges of a worker that has ended; its counts stay."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_: Any) -> None:
    """The last thing: remove the metrics' files."""
    shutil.rmtree(os.environ[SHARED_FOLDER], ignore_errors=True)
    _log().write("info", "Stopped")


class WorkerRunner(Runner):
    """Drains before it stops, as a single process does."""

    async def cleanup(self) -> None:
        """Called by aiohttp's worker when it was told to end."""
        await serving.drain(self.app)
        await super().cleanup()


async def worker() -> Runner:
    """What aiohttp's worker class runs."""
    settings = Settings.of_process()
    logging.basicConfig(handlers=[LibraryLog(_log())], level=logging.WARNING, force=True)
    app = make_app(settings, log=_log())
    serving.settle_memory()
    return WorkerRunner(app, refuse=answer_unparsable(app), room=app[ROOM], shutdown_timeout=serving.FINISH_SECONDS)
