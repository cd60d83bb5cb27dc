"""gunicorn's configuration for `relay serve --workers N`, and what each worker runs. gunicorn reads this module.

The lower-case names are gunicorn's settings: https://docs.gunicorn.org/en/stable/settings.html
"""

import logging
import os
import shutil
import signal
from functools import cache
from types import FrameType
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
# Before gunicorn takes all signals itself. nohup has SIGHUP ignored.
_OBEYED: Final = tuple(number for number in serving.STOPPING if signal.getsignal(number) is not signal.SIG_IGN)


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
    """Take the signals and log the address, as a single process does."""
    _take_signals(server)
    serving.warn_of_settings(Settings.of_process(), _log())
    for listener in server.LISTENERS:
        _log().write("info", f"Listening on http://{host_and_port(*listener.sock.getsockname()[:2])}")


def _take_signals(server: Any) -> None:
    """Have any signal that stops the relay finish the deliveries in hand, as gunicorn does for SIGTERM alone, and the
    next one end all processes at once. SIGHUP would start new workers otherwise.
    """
    finish = signal.getsignal(signal.SIGTERM)
    assert callable(finish)  # noqa: S101  gunicorn's

    def first(_: int, frame: FrameType | None) -> None:
        for number in _OBEYED:
            signal.signal(number, second)
        finish(signal.SIGTERM, frame)

    def second(number: int, _: FrameType | None) -> None:
        server.kill_workers(signal.SIGKILL)
        _remove_metrics()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in serving.STOPPING:
        signal.signal(number, first if number in _OBEYED else signal.SIG_IGN)


def post_fork(_: Any, __: Any) -> None:
    """Let a worker that does not serve yet end at once. A terminal that closes sends SIGHUP to every process, and the
    main process alone passes it on.
    """
    for number in serving.STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def child_exit(_: Any, worker: Any) -> None:
    """Remove the gauges of a worker that has ended; its counters stay."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_: Any) -> None:
    """Remove the metrics' files when gunicorn ends."""
    _remove_metrics()
    _log().write("info", "Stopped")


def _remove_metrics() -> None:
    shutil.rmtree(os.environ[SHARED_FOLDER], ignore_errors=True)


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
