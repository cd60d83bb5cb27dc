"""Shows the progress of commands that can take long, on a terminal; elsewhere it shows nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Display
    from rich.progress import TaskID

Progress = Callable[[str, int, int | None], None]
"""Shows progress: what is being done, how many are done, and of how many; None where that is not known."""
_BAR_WIDTH: Final = 30


class Bar:
    """One line of a terminal: what is being done, a bar where its end is known, and how many are done."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._display: Display | None = None
        self._task: TaskID | None = None

    def show(self, what: str, done: int, total: int | None) -> None:
        """Show the progress. `total` is None where it is not known."""
        if not self._stream.isatty():
            return
        if self._display is None:
            self._display = _display(self._stream)
            self._task = self._display.add_task(what, total=total, count="")
        assert self._task is not None  # noqa: S101  set with the display
        count = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        changes: dict[str, Any] = {"description": what, "completed": done, "total": total, "count": count}
        self._display.update(self._task, **changes)
        self._display.start()  # does nothing where it has been started

    def clear(self) -> None:
        """Remove the line."""
        if self._display:
            self._display.stop()
            self._display = None


def _display(stream: TextIO) -> "Display":
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Display

    from relay.commands.screen import console_of

    columns = (BarColumn(_BAR_WIDTH), TextColumn("{task.description}"), TextColumn("{task.fields[count]}"))
    return Display(*columns, console=console_of(stream), transient=True)
