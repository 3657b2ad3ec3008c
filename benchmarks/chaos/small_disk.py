"""A disk that can be filled to the brim: a file system in memory, or a used up quota."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil


class Disk(Protocol):
    """Where the gateway writes."""

    def fill(self) -> None:
        """Leave no room at all."""
        ...

    def free(self) -> None:
        """Give the room back."""
        ...


class Mounted:
    """A small file system of its own."""

    def __init__(self, root: Path) -> None:
        self._ballast = root / "ballast"

    def fill(self) -> None:
        """Write until nothing more fits."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Take the ballast away."""
        self._ballast.unlink(missing_ok=True)


class Quota:
    """No file of one process may grow, where mounting is not allowed: Linux, without rights."""

    def __init__(self, pid: Callable[[], int]) -> None:
        self._pid = pid

    def fill(self) -> None:
        """Forbid the process to write beyond the first page of any file."""
        self._limit(4096)

    def free(self) -> None:
        """Allow it again."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        limits = (size, resource.RLIM_INFINITY)
        psutil.Process(self._pid()).rlimit(psutil.RLIMIT_FSIZE, limits)


@contextmanager
def small_disk(root: Path, mebibytes: int, pid: Callable[[], int]) -> Iterator[Disk]:
    """Make `root` a small disk, as well as this process may; `pid` names who writes there."""
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "plait-chaos", str(root)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        yield Quota(pid)
        return
    try:
        yield Mounted(root)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)  # noqa: S607
