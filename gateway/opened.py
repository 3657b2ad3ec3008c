"""The open state file: one connection and thread that writes, one that reads.

Replaced as a whole when a damaged file is repaired, so that nothing can go on
using half of the old one.
"""

import errno
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

from gateway import schema
from gateway.condition import Condition
from gateway.writer import GroupCommit

# Seconds after which a write that has not ended says that the disk stands still, and between looks.
STILL_SECONDS, _LOOK_SECONDS = 10.0, 1.0
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class Opened:
    """Connections to one state file and their threads."""

    def __init__(
        self,
        path: Path,
        condition: Condition,
        *,
        sync_ms: float,
        observe: Callable[[float], None] | None = None,
    ) -> None:
        """Open for writing and reading; `sync_ms` 0: every commit waits for the disk.

        Raises a StoreError naming the file.
        """
        with ExitStack() as failed:
            self._connection = failed.enter_context(
                closing(schema.open_state(path, strict=sync_ms == 0))
            )
            self.reader = schema.open_reader(path)
            failed.pop_all()
        self.readers = ThreadPoolExecutor(1, "store-reader")
        # Set where the log still shows what was deleted for good; at first, as an end that
        # came too soon may have left such a log.
        self.telling = threading.Event()
        self.telling.set()
        self.writer = GroupCommit(self._connection, observe, condition)
        self._syncer: Syncer | None = None
        if sync_ms:
            self._syncer = Syncer(path, sync_ms / 1000, self.writer, condition)
        self._watch = Watch(self.writer, self._syncer, condition)
        self.writer.start()

    def quiet(self) -> None:
        """Finish what is queued, refuse what comes; the files stay as they are from here on."""
        self.readers.shutdown(wait=True)
        self.writer.stop()
        if self._syncer is not None:
            self._syncer.stop()
        self._watch.stop()

    def close(self) -> None:
        """Let go of the file; `quiet` comes first."""
        self.reader.close()
        self._connection.close()


class Watch:
    """Tells of a disk that stands still: it answers with no error, so nobody else notices.

    A thread of its own, which touches no disk.
    """

    def __init__(self, writer: GroupCommit, syncer: "Syncer | None", condition: Condition) -> None:
        self._writer = writer
        self._syncer = syncer
        self._condition = condition
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            # Once it ends, writing that goes well says that all is well again.
            if _lasts(self._writer.writing_since):
                self._condition.ill(_still("a write has not ended"))
            # Commits do not wait for a sync, so they say nothing of it: only its own end does.
            if self._syncer is not None and _lasts(self._syncer.syncing_since):
                self._condition.unsynced(_still("a sync of what was written has not ended"))


def _lasts(since: float | None) -> bool:
    return since is not None and time.monotonic() - since > STILL_SECONDS


def _still(what: str) -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, f"{what} for {STILL_SECONDS:g} s")


class Syncer:
    """Syncs the log shortly after commits, so that a power cut costs only the last moment.

    A thread of its own: commits go on while the disk takes the last ones.
    """

    def __init__(self, path: Path, pause: float, writer: GroupCommit, condition: Condition) -> None:
        """`pause`: seconds between syncs while there is something to sync."""
        self._condition = condition
        self._log = os.open(schema.log_of(path), os.O_RDWR)
        self._pause = pause
        self._writer = writer
        # Since when a sync has been under way, by time.monotonic(); None: none is.
        self.syncing_since: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-syncer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sync what is left and end the thread."""
        self._stopping.set()
        self._thread.join()
        os.close(self._log)

    def _run(self) -> None:
        synced = self._writer.rows
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(self._pause)
            written = self._writer.rows
            if written != synced:
                self.syncing_since = time.monotonic()
                try:
                    _sync(self._log)
                    synced = written
                    self._condition.synced()
                except OSError as error:
                    self._condition.unsynced(error)
                finally:
                    self.syncing_since = None
