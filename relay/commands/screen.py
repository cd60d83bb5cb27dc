"""What a terminal shows: text that is wrapped between words, in colours, and the progress of long work.

Nothing here runs where the output is a pipe or a file. rich knows the terminal: its width, its colours, NO_COLOR
(https://no-color.org) and TERM=dumb. The text has no control characters any more (relay.commands.terminal), and rich is
not asked to read any markup in it.
"""

import re
import sys
from typing import Final, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.text import Text
from rich.theme import Theme

# The colours of the terminal's own theme, so that they can be read on light and dark backgrounds.
_THEME: Final = Theme({"word.good": "green", "word.doubt": "yellow", "word.bad": "bold red", "word.id": "cyan"})
_HANGING: Final = "  "
# A word with the blanks before it, so that columns which still fit stay in their place.
_WORD: Final = re.compile(r" *[^ ]+")
_COLUMN: Final = re.compile(r"[^ ] {2,}(?=[^ ])")


def _told(words: str) -> str:
    """Matches one of the words where it is what a line tells, and not where it stands in a sentence or in a name.

    It begins a line or a column, and a colon or the next column follows it.
    """
    return rf"(?:^|(?<=  ))(?:{words})(?=  |$|:)"


class _Words(RegexHighlighter):
    """Colours words that the relay itself uses, outcomes and statuses, and ids."""

    base_style = "word."
    highlights = (
        rf"(?m)(?P<good>^ok\b|{_told('applied|paid|recorded|resolved|delivered')})",
        rf"(?m)(?P<doubt>^(?:warn|skip|Warning)\b|{_told('pending|awaiting_funds|ignored|oversold')})",
        rf"(?m)(?P<bad>^FAIL\b|{_told('rejected|unmatched|failed|refused')}|\bdoes not hold\b|^relay:)",
        r"(?m)(?P<id>\b(?:cs|pi|evt|re|dp|du|we|acct|sweep)_\w+|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)",
    )


def show(text: str, stream: TextIO | None = None) -> None:
    """Write text to a terminal, stdout where no stream is named. No word is broken."""
    console = console_of(stream or sys.stdout)
    wrapped = "\n".join(part for line in text.split("\n") for part in wrap(line, console.width))
    console.print(_Words()(Text(wrapped)), end="", soft_wrap=True)


def console_of(stream: TextIO) -> Console:
    """rich's console for a stream."""
    return Console(file=stream, theme=_THEME, highlight=False, markup=False, emoji=False)


def wrap(line: str, columns: int) -> list[str]:
    """The line in as many lines as it needs, broken at blanks only, so that an id can be copied whole.

    What follows the first is indented to the line's last column, or by two more than the line where a word would not
    fit there. A word that is longer than `columns` is a line of its own.
    """
    if cell_len(line) <= columns:
        return [line]
    begin = len(line) - len(line.lstrip(" "))
    words = [match[0] for match in _WORD.finditer(line, begin)]
    starts = [match.end() for match in _COLUMN.finditer(line)]
    hanging = starts[-1] if starts and starts[-1] <= columns // 2 else begin + len(_HANGING)
    if max(cell_len(word.strip()) for word in words) > columns - hanging:
        hanging = begin + len(_HANGING)
    lines, current, is_begun = [], line[:begin], False
    for word in words:
        if is_begun and cell_len(current + word) > columns:
            lines.append(current)
            current, is_begun = " " * hanging, False
        current += word if is_begun else word.lstrip(" ")
        is_begun = True
    return [*lines, current]
