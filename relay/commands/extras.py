"""What only some commands need, and a server does not have: the extras of the package."""

import importlib.util

from relay.commands.endings import CommandError


def need(extra: str, *modules: str, for_what: str) -> None:
    """Raises CommandError, with the way to get the extra, where one of its modules is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f"{for_what} needs {' and '.join(missing)}: pip install --require-hashes -r requirements/{extra}.txt, "
            f"or the package with its extra `{extra}`"
        )
