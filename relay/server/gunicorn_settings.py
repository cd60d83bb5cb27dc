"""gunicorn's configuration for `relay serve --workers N`, and what each worker runs. gunicorn reads this module.

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
from relay.server.app import CONNECTION_LIMIT, answer_unparsable, make_app
from relay.server.connections import Runner
from relay.server.listening import BACKLOG, host_and_port
from relay.server.telemetry import LibraryLog, Log
from relay.server.watching import watching

# Added to graceful_timeout, which begins with SIGTERM: draining and finishing must fit in.
_GRACE_SECONDS: Final = 2


@cache
def _log() -> Log:
    """The log of this process. It is made for the first line, because gunicorn imports this module to read it."""
    return Log(Settings.of_process().log_level)


class JsonLogger(Logger):  # type: ignore[misc]
    """Writes gunicorn's own lines in the format of the relay's log."""

    def setup(self, cfg: Any) -> None:
        """Replace the handlers that gunicorn sets."""
        super().setup(cfg)
        self.error_log.handlers = [LibraryLog(_log())]
        self.error_log.setLevel(logging.WARNING)


worker_class = f"aiohttp.Gunicorn{'UVLoop' if serving.HAS_UVLOOP else ''}WebWorker"
logger_class = JsonLogger
backlog = BACKLOG
graceful_timeout = int(serving.LISTEN_ON_SECONDS + serving.FINISH_SECONDS) + _GRACE_SECONDS
# In seconds: gunicorn replaces a worker whose event loop does not run for so long.
timeout = 30
control_socket_disable = True


def when_ready(server: Any) -> None:
    """Log the address, as a single process does."""
    serving.warn_of_settings(Settings.of_process(), _log())
    for listener in server.LISTENERS:
        _log().write("info", f"Listening on http://{host_and_port(*listener.sock.getsockname()[:2])}")


def child_exit(_: Any, worker: Any) -> None:
    """Remove the gauges of a worker that has ended; its counters stay."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_: Any) -> None:
    """Remove the metrics' files when gunicorn ends."""
    shutil.rmtree(os.environ[SHARED_FOLDER], ignore_errors=True)
    _log().write("info", "Stopped")


class WorkerRunner(Runner):
    """Drains before it stops, as a single process does (relay.server.serving)."""

    async def cleanup(self) -> None:
        """Drain, then stop. aiohttp's worker calls this when it must end."""
        await serving.drain(self.app)
        await super().cleanup()


async def worker() -> Runner:
    """Make the runner that aiohttp's worker class runs. Raises SettingsError."""
    settings = Settings.of_process()
    logging.basicConfig(handlers=[LibraryLog(_log())], level=logging.WARNING, force=True)
    app = make_app(settings, log=_log())
    app.cleanup_ctx.append(watching)
    serving.settle_memory()
    return WorkerRunner(
        app, refuse=answer_unparsable(app), limit=app[CONNECTION_LIMIT], shutdown_timeout=serving.FINISH_SECONDS
    )
