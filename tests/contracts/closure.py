"""What installing Plait with some extras pulls in, by the metadata of what is installed."""

import re
from collections.abc import Set
from importlib import metadata

from packaging.requirements import Requirement

from tests.contracts.repository import ROOT


def normalised(name: str) -> str:
    """Return a distribution's name in its one canonical spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def skipped() -> set[str]:
    """Return what the lock leaves out on purpose: parts of packages that nobody here uses."""
    return {normalised(n) for n in (ROOT / "requirements.skip").read_text().split()}


def closure(*extras: str) -> set[str]:
    """Return every distribution `plait[extras]` needs on this platform, without plait itself."""
    return needed_by("plait", *extras, skip=skipped()) - {"plait"}


def needed_by(package: str, *extras: str, skip: Set[str] = frozenset()) -> set[str]:
    """Return a package and all it needs here, without what is skipped or not installed."""
    wanted: dict[str, frozenset[str]] = {}
    todo = [(package, frozenset(extras))]
    while todo:
        name, more = todo.pop()
        have = wanted.get(name)
        if name in skip or (have is not None and more <= have):
            continue
        wanted[name] = (have or frozenset()) | more
        for line in _requirements(name):
            needed = Requirement(line)
            markers = [{"extra": extra} for extra in (*wanted[name], "")]
            if needed.marker is None or any(needed.marker.evaluate(m) for m in markers):
                todo.append((normalised(needed.name), frozenset(needed.extras)))
    return set(wanted)


def _requirements(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
