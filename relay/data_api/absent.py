"""Imports that find a package missing, though it is installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(package: str) -> Iterator[None]:
    """Within it, importing the package raises ModuleNotFoundError, unless it was imported before: libraries that can do
    without it then do, for as long as the process lives. https://docs.python.org/3/reference/import.html#the-module-cache
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
