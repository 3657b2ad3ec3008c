"""Files that are there whole or not at all, on disks that may be full."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# No room is left: on the disk, in a quota, in a file that may not grow (ulimit -f).
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# numpy says how much of an array it has written, and not even what is wrong.
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")


@contextmanager
def naming(place: Path) -> Iterator[None]:
    """Have an OSError that tells of no room name `place`, where it names no file itself.

    A write that fails says only what is wrong, not where.
    """
    try:
        yield
    except OSError as error:
        number = errno.ENOSPC if _CUT_SHORT.fullmatch(str(error)) else error.errno
        if error.filename is not None or number not in _FULL:
            raise
        raise OSError(number, os.strerror(number), str(place)) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a file to write beside `path`, which has all of it in the end, or is as it was.

    What is kept for later runs is read by all of them: half of it would end each.
    """
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with naming(path):
            yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def temporary() -> Iterator[Path]:
    """Yield a directory for what is not needed afterwards, which errors of no room name."""
    with tempfile.TemporaryDirectory(prefix="plait-") as place, naming(Path(place)):
        yield Path(place)
