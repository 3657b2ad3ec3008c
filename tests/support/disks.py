"""A disk that is really full: a small file system of memory, where the test may mount one."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Disk:
    """A file system of some MiB that can be filled to the brim and emptied again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ballast = root / "ballast"

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


@contextmanager
def small_disk(root: Path, mebibytes: int) -> Iterator[Disk | None]:
    """Mount a small tmpfs at `root`; None where this process may not."""
    root.mkdir()
    size = f"size={mebibytes}m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "plait-test", str(root)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield Disk(root)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)


@contextmanager
def short_files(size: int) -> Iterator[None]:
    """Let this process write no file of more than `size` bytes: a full disk without a mount."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
