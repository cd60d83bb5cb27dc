"""An installation without some of the libraries that the tests' own has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def without(modules: Sequence[str], folder: Path) -> Mapping[str, str]:
    """The environment of a command that finds none of the modules, because an import hook in the folder hides them."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {modules!r}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        f"util.find_spec = lambda name, *more: None if name in {modules!r} else found(name, *more)\n"
    )
    return {"PYTHONPATH": str(folder)}
