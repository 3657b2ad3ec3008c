"""Output that can be written: tried before the work whose result it holds, whole in the end."""

import errno
import tempfile
from pathlib import Path

from artifacts.disk import whole
from cli.failures import UserError


def check_file(path: Path | None) -> None:
    """Raise UserError where a file cannot be written; nothing is changed.

    Standard output ("-") and no file always can.
    """
    if path is None or str(path) == "-":
        return
    try:
        if path.is_file():
            path.open("ab").close()
        if path.is_file() or not path.exists():  # a pipe's reader would see its end
            _try(path.resolve().parent)
    except OSError as error:
        raise unwritable(path, error) from None


def check_directory(path: Path) -> None:
    """Raise UserError where a directory cannot be made or written into; nothing is changed."""
    try:
        _try(path)
    except OSError as error:
        raise unwritable(path, error) from None


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8, and the directories above it.

    Raises UserError where that cannot be done; what was there is then as it was.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device is written into
            path.write_text(text, encoding="utf-8")
            return
        place = path.resolve()  # a link stays one
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole(place) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> UserError:
    """Say that output cannot be written."""
    room = "make room there, or " if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
    return UserError(f"{path}: cannot be written ({error.strerror}); {room}choose another place")


def _try(directory: Path) -> None:
    """Write into a directory, or the nearest there is above it; raises OSError."""
    there = next(place for place in (directory, *directory.parents) if place.exists())
    with tempfile.TemporaryFile(dir=there) as draft:
        draft.write(b"x")
