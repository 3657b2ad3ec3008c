"""Replacing a damaged state file by what can be saved of it.

The new file is complete before the old one gives way, in one rename, and the old one
keeps a second name: whatever goes wrong in between, nothing is worse than before, and
a person can look for more in it later.
"""

import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway import schema
from gateway.errors import StoreCorrupt, StoreFailed

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.1  # between looks whether the gateway stops


@contextmanager
def repaired(path: Path, stopping: threading.Event) -> Iterator[None]:
    """Save, then set the old files aside, run the block, and put the new file in place.

    The block lets go of the old files. Raises StoreCorrupt where nothing in the file
    can be recognised, and StoreFailed where there is no room, or once `stopping` is set;
    then nothing has changed.
    """
    draft = path.with_name(f".{path.name}.repair")
    draft.unlink(missing_ok=True)
    try:
        saved = _save(path, draft, stopping)
        if not saved["items"] and not saved["events"]:
            raise StoreCorrupt(
                f"{path}: not a state file, or nothing in it can be read; restore a copy, or "
                "move it away and run `plait seed`"
            )
        aside = set_aside(path)
        yield
        schema.put_in_place(draft, path)
    except OSError as error:
        raise StoreFailed(f"{path}: damaged, and cannot be repaired ({error})") from None
    finally:
        draft.unlink(missing_ok=True)
    _log.error("a damaged state file was replaced", extra={"set_aside": str(aside), **saved})


def _save(path: Path, draft: Path, stopping: threading.Event) -> dict[str, int]:
    with subprocess.Popen(  # noqa: S603 -- our own module
        [sys.executable, "-m", "gateway.salvage", str(path), str(draft)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as salvaging:
        printed, complaint = _said(salvaging, stopping)
    if stopping.is_set() and salvaging.returncode != 0:
        raise StoreFailed(f"{path}: damaged; its repair is given up, the next start begins anew")
    if salvaging.returncode != 0:
        why = complaint.strip().rsplit("\n", 1)[-1]
        raise StoreFailed(f"{path}: damaged, and cannot be repaired ({why}); make room beside it")
    saved: dict[str, int] = json.loads(printed)
    return saved


def _said(process: subprocess.Popen[str], stopping: threading.Event) -> tuple[str, str]:
    """Wait for what a process prints; kill it where the gateway is not to wait for its end."""
    while not stopping.is_set():
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_LOOK_SECONDS)
    process.kill()
    return process.communicate()


def set_aside(path: Path) -> Path:
    """Give the file and its log a second name; return it."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    for suffix in ("", "-wal"):
        old, new = path.with_name(path.name + suffix), aside.with_name(aside.name + suffix)
        if old.exists() and not new.exists():
            new.hardlink_to(old)
    return aside
