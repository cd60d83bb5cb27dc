"""Checks that the libraries of one of the package's extras are installed. Only some commands need them."""

import importlib.util

from relay.commands.endings import CommandError


def need(extra: str, *modules: str, for_what: str) -> None:
    """Raises CommandError, which says how to install the extra, where one of the modules is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"{for_what} needs {' and '.join(missing)}: pip install --require-hashes -r requirements/{extra}.txt, "
            f"or the package with its extra `{extra}`"
        )
