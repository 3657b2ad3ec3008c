"""Imports a role's modules as if only its image's packages were installed.

    python -m tests.contracts.only_imports ALLOWED MODULE ...

ALLOWED: names of distributions, separated by commas. Every other installed one is
made to look absent; each MODULE is imported with everything below it. Exits 1
with the traceback where that fails.
"""

import importlib
import importlib.abc
import importlib.machinery
import pkgutil
import sys
from collections.abc import Sequence
from importlib import metadata
from types import ModuleType

from tests.contracts.closure import normalised


class Absent(importlib.abc.MetaPathFinder):
    """Says of some top-level modules that they are not there."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Raise for an absent module, leave the others to the next finder."""
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"{fullname} is not in this image", name=fullname)
        return None


def outside(allowed: set[str]) -> set[str]:
    """Return the top-level modules that belong to other distributions only."""
    tops = metadata.packages_distributions().items()
    return {top for top, owners in tops if not allowed & {normalised(o) for o in owners}}


def main(arguments: Sequence[str]) -> None:
    """Hide, then import."""
    allowed = {normalised(a) for a in arguments[0].split(",")} | {"plait"}
    hidden = outside(allowed)
    for name in [n for n in sys.modules if n.partition(".")[0] in hidden]:
        del sys.modules[name]
    sys.meta_path.insert(0, Absent(hidden))
    for name in arguments[1:]:
        module = importlib.import_module(name)
        for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
            importlib.import_module(found.name)


if __name__ == "__main__":
    main(sys.argv[1:])
