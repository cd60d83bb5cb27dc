"""What the demo prints: prose, tables, and one verdict at the end."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

COLUMNS = 80  # everything is readable at this width, in a log of CI too
LONG = 28
SAME = "the same"


class Report:
    """Prints as it goes and remembers every expectation that was not met."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        self._console = Console(
            highlight=False, no_color=not terminal, width=None if terminal else COLUMNS, emoji=False, markup=False
        )
        self._box = box.SIMPLE_HEAD if terminal else box.ASCII2
        self.held = 0
        self.failures: list[str] = []

    def step(self, title: str, prose: str) -> None:
        """A heading and a few sentences."""
        self._console.print(f"\n{title}", style="bold")
        self.say(prose)

    def say(self, prose: str) -> None:
        """A paragraph."""
        text = " ".join(prose.split())
        self._console.print(textwrap.fill(text, COLUMNS, break_long_words=False, break_on_hyphens=False), style="dim")

    def line(self, text: str) -> None:
        """Something to copy: printed as it is, never wrapped."""
        print(text, flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table; long cells are folded, never cut."""
        table = Table(title=title, title_justify="left", title_style="", box=self._box, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*("-" if cell is None else str(cell) for cell in row))
        self._console.print(table)

    def expect(self, what: str, expectations: Sequence[tuple[str, Any, Any]]) -> None:
        """A table of (name, expected, actual); each that differs counts as a failure."""
        rows = []
        for name, expected, actual in expectations:
            fits = expected == actual
            # An id twice beside itself would be wider than the page.
            shown = SAME if fits and len(str(actual)) > LONG else actual
            rows.append((name, expected, shown, "ok" if fits else "WRONG"))
            if fits:
                self.held += 1
            else:
                self.failures.append(f"{what}: {name}: expected {expected}, got {actual}")
        self.table(what, ("", "expected", "actual", ""), rows)

    def verdict(self) -> int:
        """The closing words; 0 where everything was as promised, else 1."""
        if not self.failures:
            self._console.print(f"\nAs promised: all {self.held} expectations held.", style="bold green")
            return 0
        self._console.print(f"\nNOT as promised: {len(self.failures)} expectations failed.", style="bold red")
        for failure in self.failures:
            self._console.print(f"  {failure}")
        return 1
