"""Whether output can be written: tried before the work whose result it is to hold."""

import tempfile
from pathlib import Path

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
        elif not path.exists():  # a pipe is not opened: whoever reads it would see its end
            _try(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None


def check_directory(path: Path) -> None:
    """Raise UserError where a directory cannot be made or written into; nothing is changed."""
    try:
        _try(path)
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> UserError:
    """Say that output cannot be written."""
    return UserError(f"{path}: cannot be written ({error.strerror}); choose another place")


def _try(directory: Path) -> None:
    """Write into a directory, or the nearest there is above it; raises OSError."""
    there = next(place for place in (directory, *directory.parents) if place.exists())
    with tempfile.TemporaryFile(dir=there) as draft:
        draft.write(b"x")
