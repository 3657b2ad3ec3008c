"""Directories that this user may not go into."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def passable(place: Path) -> Path:
    """Open pytest's own directories above a place to other users; skip where that is not enough."""
    for parent in (place, *place.parents[:2]):
        parent.chmod(0o755)
    if not all(parent.stat().st_mode & 0o001 for parent in place.parents):
        pytest.skip("the place for temporary files is for its user alone")
    return place


@contextmanager
def shut(path: Path, mode: int = 0) -> Iterator[None]:
    """Let nobody into a directory; root, who may go anywhere, is somebody else meanwhile."""
    path.chmod(mode)
    if root := os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o755)
