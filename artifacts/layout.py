"""Where artifacts lie, and how a new version appears all at once.

REPOSITORY/<source>/<version>/ with version a positive integer: the layout
Triton reads. A version is written beside the others under a hidden name and
renamed, so a reader sees all of it or none; it is never changed afterwards.
"""

import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artifacts.disk import naming
from artifacts.errors import ArtifactError, ArtifactMissing

MANIFEST = "manifest.json"
# A draft that nobody holds goes once it has lain untouched for so long.
_ABANDONED_SECONDS = 3600.0
_VERSION = re.compile("[1-9][0-9]{0,18}")


def versions(repository: Path, source: str) -> list[int]:
    """List the complete versions of a source, ascending; empty if there are none.

    Raises ArtifactError where this user may not look.
    """
    home = repository / source
    try:
        # A name with zeros in front is another directory than the one its number leads to.
        found = [d for d in home.iterdir() if _VERSION.fullmatch(d.name) and _complete(d)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ArtifactError(
            f"{home}: cannot be read ({error.strerror}); may this user read it?"
        ) from None
    return sorted(int(d.name) for d in found)


def _complete(version: Path) -> bool:
    # Not by is_file(): since Python 3.14 that takes what this user may not see for absent.
    try:
        return stat.S_ISREG((version / MANIFEST).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        return True  # to be refused by name, when it is loaded


def find(repository: Path, source: str, version: int | None = None) -> Path:
    """Return the directory of a version, the newest if none is named.

    Raises ArtifactMissing, saying which versions there are, and what `versions` does.
    """
    have = versions(repository, source)
    if version is None and have:
        version = have[-1]
    if version is None or version not in have:
        wanted = "any version" if version is None else f"version {version}"
        listed = ", ".join(map(str, have)) or "none"
        raise ArtifactMissing(
            f"{repository / source}: no artifact of source '{source}', {wanted} "
            f"(found: {listed}); train one with `plait train`, or name another repository"
        )
    return repository / source / str(version)


@contextmanager
def publish(repository: Path, source: str) -> Iterator[tuple[Path, int]]:
    """Yield an empty directory and the next version number; rename into place on success.

    The number is this caller's alone, whoever else publishes at the same time. On an
    exception nothing of the version remains; what a killed process left, the next who
    publishes removes.
    """
    home = repository / source
    home.mkdir(parents=True, exist_ok=True)
    _clear(home, ".draft-*")
    draft, version = _claim(home, max(versions(repository, source), default=0) + 1)
    holder = _hold(draft)
    try:
        with naming(home):
            yield draft, version
            _make_ready(draft)
        draft.rename(home / str(version))
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    finally:
        if holder is not None:
            os.close(holder)
    _sync(home)


@contextmanager
def scratch(repository: Path, name: str) -> Iterator[Path]:
    """Yield an empty directory in a repository, for what is not needed afterwards.

    One that a killed process left is removed by the next who needs one.
    """
    _clear(repository, f".{name}-*")
    with tempfile.TemporaryDirectory(dir=repository, prefix=f".{name}-") as place:
        holder = _hold(Path(place))
        try:
            yield Path(place)
        finally:
            if holder is not None:
                os.close(holder)


def _clear(home: Path, drafts: str) -> None:
    """Remove the drafts of processes that are gone; `drafts` is the pattern of their names.

    Those that nobody holds: the kernel lets go when a process dies. And that nobody has
    written to for a while, for who has just made one and does not hold it yet, or does so
    where the disk is shared and locks are not.
    """
    for draft in home.glob(drafts):
        with suppress(OSError):  # gone meanwhile, or another user's
            if (holder := _hold(draft)) is None:
                continue
            try:
                if time.time() - _written(draft) > _ABANDONED_SECONDS:
                    shutil.rmtree(draft, ignore_errors=True)
            finally:
                os.close(holder)


def _written(directory: Path) -> float:
    """Return when anything in a directory was written last, seconds since 1970."""
    return max(path.stat().st_mtime for path in (directory, *directory.rglob("*")))


def _hold(draft: Path) -> int | None:
    """Hold a draft until what is returned is closed; None: another does, or it cannot be told."""
    try:
        handle = os.open(draft, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _claim(home: Path, version: int) -> tuple[Path, int]:
    """Make the draft of the first version, from this number on, that nobody has or makes."""
    while True:
        draft = home / f".draft-{version}"
        with suppress(FileExistsError):
            draft.mkdir(mode=0o700)  # one of several who try makes it
            if not (home / str(version)).exists():
                return draft, version
            draft.rmdir()  # whoever made it before has published it since the versions were read
        version += 1


def _make_ready(draft: Path) -> None:
    """Have everything on the disk, for all to read; raises ArtifactMissing without a manifest."""
    if not (draft / MANIFEST).is_file():
        raise ArtifactMissing(f"{draft}: no {MANIFEST} was written, nothing is published")
    # Serving runs as another user: a draft's 0700 would shut it out, and so would the 0600
    # that tantivy gives its files.
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
