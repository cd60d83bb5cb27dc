"""The parser of `relay`: it names what a mistyped word is near to, and its help fits the terminal."""

import argparse
import difflib
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

_CHOICE: Final = re.compile(r"invalid choice: '(?P<word>[^']*)' \(choose from (?P<known>[^)]*)\)")
_CONTINUED: Final = " \\"
_QUOTED: Final = re.compile(r'"[^"]*"')
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_WHOLE: Final[Mapping[str, Any]] = {"break_long_words": False, "break_on_hyphens": False}


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; None where none is near."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


class Parser(argparse.ArgumentParser):
    """Ends wrong usage with one message, which names the nearest option or choice. Options are not abbreviated: what
    is unique today may not be tomorrow.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})  # type: ignore[arg-type]  # argparse checks them itself

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # overloaded in argparse
        """Parse; what is left over is an error here, where the options are known, and not in the outermost parser."""
        self._words = list(args or ())
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Print the message, and what was probably meant, and exit with status 2."""
        super().error(f"{message}{self._hint(message)}")

    def _hint(self, message: str) -> str:
        if match := _CHOICE.search(message):
            near = nearest(match["word"], re.findall(r"[^\s',]+", match["known"]))
            return f"; did you mean {near}?" if near else ""
        known = [name for action in self._actions for name in action.option_strings]
        typed = [word.partition("=")[0] for word in self._words if word.startswith("-")]
        hints = [(near, word) for word in typed if word not in known and (near := nearest(word, known))]
        if len(hints) == 1 and hints[0][1] in message.split():
            return f"; did you mean {hints[0][0]}?"
        return f"; did you mean {', '.join(f'{near}, not {word}' for near, word in hints)}?" if hints else ""


class Layout(argparse.HelpFormatter):
    """Help whose examples stay lines, and whose paragraphs are filled anew for the terminal's width."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            line for block in re.split(r"(\n\s*\n)", text.strip("\n")) for line in _filled(block, width, indent)
        )


def _filled(block: str, width: int, indent: str) -> list[str]:
    """The lines of one paragraph, or of one list of examples."""
    lines = block.split("\n")
    if any(line.startswith(("  ", "example: ")) for line in lines):
        return [part for line in lines for part in _example(line, width, indent)]
    return [
        part
        for sentences in re.split(r"\n(?=exit status:)", block)
        for part in textwrap.wrap(sentences, width, initial_indent=indent, subsequent_indent=indent, **_WHOLE) or [""]
    ]


def _example(line: str, width: int, indent: str) -> list[str]:
    """The example as it stands, or as a shell also reads it: its remark above it, a long command in several lines."""
    if len(indent + line) <= width:
        return [indent + line]
    command, _, remark = line.removeprefix("example:").partition("#")
    above = [f"{indent}example:"] if line.startswith("example:") else []
    above += [f"{indent}  # {remark.strip()}"] if remark else []
    quoted = _QUOTED.sub(lambda match: match[0].replace(" ", _NO_BREAK), command.strip())
    *parts, last = textwrap.wrap(
        quoted, width - len(_CONTINUED), initial_indent=f"{indent}  ", subsequent_indent=f"{indent}      ", **_WHOLE
    )
    return [part.replace(_NO_BREAK, " ") for part in (*above, *(part + _CONTINUED for part in parts), last)]
