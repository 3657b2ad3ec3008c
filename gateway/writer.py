"""Group commit: many writers, one thread, one commit for all that wait.

While a commit reaches the disk further writes queue up; the next commit takes
them all. There is no timer, so an idle store adds no wait and a busy one pays
the disk once for many callers.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.errors import StoreError, StoreFailed

T = TypeVar("T")
_log = logging.getLogger(__name__)
# Bounds one transaction, so that a caller does not wait behind thousands of others.
_MOST_JOBS = 256


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One write: `work` runs in the writer thread, `then` in the event loop, before the caller."""

    work: Callable[[sqlite3.Connection], Any]
    then: Callable[[Any], None] | None
    done: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class GroupCommit:
    """Runs writes against one connection, several to a transaction."""

    def __init__(
        self, connection: sqlite3.Connection, observe: Callable[[float], None] | None = None
    ) -> None:
        """`observe` gets the seconds of every commit, in the writer thread."""
        self._connection = connection
        self._observe = observe
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end the thread; blocks until it has."""
        self._jobs.put(None)
        self._thread.join()

    def submit(
        self,
        work: Callable[[sqlite3.Connection], T],
        then: Callable[[T], None] | None = None,
    ) -> "asyncio.Future[T]":
        """Queue a write; the future holds its result once it is on disk.

        `then(result)` runs in the event loop before the future resolves, even if
        the caller has gone: what is on disk must be seen by the next request.
        The future raises StoreFailed where the write did not happen.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(work, then, done, loop))
        return done

    def _run(self) -> None:
        while True:
            jobs, stopping = self._take()
            if jobs:
                self._commit(jobs)
            if stopping:
                return

    def _take(self) -> tuple[list[_Job], bool]:
        """Wait for a job, then take whatever else waits by now."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) >= _MOST_JOBS:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _commit(self, jobs: list[_Job]) -> None:
        start = time.perf_counter()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [self._attempt(job) for job in jobs]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            results = [StoreFailed(f"the state file could not be written ({error})")] * len(jobs)
            _log.exception("commit failed", extra={"jobs": len(jobs)})
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        if self._observe is not None:
            self._observe(time.perf_counter() - start)
        try:
            jobs[0].loop.call_soon_threadsafe(_resolve, jobs, results)
        except RuntimeError:  # the loop has closed: nobody is left to tell
            _log.warning("event loop gone after a commit", extra={"jobs": len(jobs)})

    def _attempt(self, job: _Job) -> Any:
        """Run one job so that its failure undoes it alone."""
        self._connection.execute("SAVEPOINT job")
        try:
            result = job.work(self._connection)
        except sqlite3.OperationalError:
            raise  # the disk or the file: no other job would fare better
        except Exception as error:  # one caller's mistake must not stop the writer
            _log.exception("write refused")
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return StoreFailed(f"the write was refused ({error})")
        self._connection.execute("RELEASE job")
        return result


def _resolve(jobs: list[_Job], results: list[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        failure = result if isinstance(result, StoreError) else None
        if job.then is not None and failure is None:
            try:
                job.then(result)
            except Exception:  # the others' writes must still be acknowledged
                _log.exception("a committed write could not be taken into memory")
                failure = StoreFailed("written, but not yet visible; restart the gateway")
        if job.done.done():  # the caller was cancelled
            continue
        if failure is not None:
            job.done.set_exception(failure)
        else:
            job.done.set_result(result)
