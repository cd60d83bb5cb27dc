"""Shows the progress of commands that can take long."""

from collections.abc import Callable
from typing import Final, TextIO

Progress = Callable[[str, int, int | None], None]
"""Shows progress: what is being done, how many are done, and of how many; None where that is not known."""
_BAR_WIDTH: Final = 30


class Bar:
    """A progress bar in one line of a terminal. It writes nothing where the stream is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = False

    def show(self, what: str, done: int, total: int | None) -> None:
        """Show the progress. `total` is None where it is not known."""
        if not self._stream.isatty():
            return
        filled = _BAR_WIDTH * done // total if total else 0
        bar = f"[{'#' * filled:<{_BAR_WIDTH}}] " if total else ""
        self._stream.write(f"\r\x1b[K{bar}{what} {done}" + (f" of {total}" if total else ""))
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False
