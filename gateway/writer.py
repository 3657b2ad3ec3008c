"""Group commit: many writers, one thread, one commit for all that wait.

While a commit is under way further writes queue up; the next commit takes them
all. There is no timer, so an idle store adds no wait and a busy one pays for many
callers at once. Whether a commit waits for the disk is the connection's
`synchronous` (schema.py); this file only knows that it has returned.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.condition import REASONS, Condition
from gateway.errors import StoreBusy, StoreError, StoreFailed, StoreRefused, StoreUnseen

T = TypeVar("T")
_log = logging.getLogger(__name__)
# Bounds one transaction, so that a caller does not wait behind thousands of others.
_MOST_JOBS = 256
# Bounds the memory that waits for a disk that stands still: further writes are refused.
_MOST_WAITING = 4_096


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
        self,
        connection: sqlite3.Connection,
        observe: Callable[[float], None] | None = None,
        condition: Condition | None = None,
    ) -> None:
        """`observe` gets the seconds of every commit, in the writer thread."""
        self._connection = connection
        self._observe = observe
        self._condition = condition or Condition()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._stopping = False
        self._queueing = threading.Lock()
        self._lock = threading.Lock()
        # Since when somebody has been writing, by time.monotonic(); None: nobody is.
        self.writing_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        # Rows written so far; tells the upkeep how much there is to keep up with.
        self.rows = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued and refuse what comes later; blocks until it has."""
        with self._queueing:
            self._stopping = True
            self._jobs.put(None)
        self._thread.join()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the writer from its next commit for the length of the block; any thread."""
        with self._lock:
            self.writing_since = time.monotonic()
            try:
                yield
            finally:
                self.writing_since = None

    def now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a write of the upkeep's in the calling thread, between commits.

        Raises sqlite3.Error where it did not happen.
        """
        with self.held():
            try:
                with self._transaction():
                    result = work(self._connection)
            except sqlite3.Error as error:
                self._condition.ill(error)
                raise
            self._condition.well()
            self.rows = self._connection.total_changes
            return result

    def submit(
        self,
        work: Callable[[sqlite3.Connection], T],
        then: Callable[[T], None] | None = None,
    ) -> "asyncio.Future[T]":
        """Queue a write; the future holds its result once it is committed.

        `then(result)` runs in the event loop before the future resolves, even if
        the caller has gone: what is durable must be seen by the next request.
        `work` may run twice, the first time undone, so it must do nothing else.
        The future raises StoreFailed where the write did not happen.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        with self._queueing:
            if self._stopping:
                raise StoreFailed("the state file is being closed")
            if self._jobs.qsize() >= _MOST_WAITING:
                raise StoreBusy("too many writes wait for the disk")
            self._jobs.put(_Job(work, then, done, loop))
        return done

    def _run(self) -> None:
        while True:
            jobs, stopping = self._take()
            if jobs:
                self._serve(jobs)
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

    def _serve(self, jobs: list[_Job]) -> None:
        with self.held():
            start = time.perf_counter()
            try:
                results = self._commit(jobs)
                self._condition.well()
            except sqlite3.Error as error:
                state = self._condition.ill(error)
                problem = f"{REASONS[state]} ({error})"
                results = [StoreFailed(problem)] * len(jobs)
            self.rows = self._connection.total_changes
            if self._observe is not None:
                self._observe(time.perf_counter() - start)
        try:
            jobs[0].loop.call_soon_threadsafe(_resolve, jobs, results)
        except RuntimeError:  # the loop has closed: nobody is left to tell
            _log.warning("event loop gone after a commit", extra={"jobs": len(jobs)})

    def _commit(self, jobs: list[_Job]) -> list[Any]:
        """Run all in one transaction; if one spoils it, again with each on its own."""
        try:
            with self._transaction():
                return [job.work(self._connection) for job in jobs]
        except Exception as error:
            if _general(error):
                raise
        with self._transaction():
            return [self._attempt(job) for job in jobs]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _attempt(self, job: _Job) -> Any:
        """Run one job so that its failure undoes it alone."""
        self._connection.execute("SAVEPOINT job")
        try:
            result = job.work(self._connection)
        except Exception as error:  # one caller's mistake must not stop the writer
            if _general(error):
                raise
            _log.exception("write refused")
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return StoreRefused(f"the write was refused ({error})")
        self._connection.execute("RELEASE job")
        return result


def _general(error: Exception) -> bool:
    """Whether it is the disk's or the file's fault: no other write would fare better."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _resolve(jobs: list[_Job], results: list[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        failure = result if isinstance(result, StoreError) else None
        if job.then is not None and failure is None:
            try:
                job.then(result)
            except Exception:  # the others' writes must still be acknowledged
                _log.exception("a committed write could not be taken into memory")
                failure = StoreUnseen("written, but not yet visible; restart the gateway")
        if job.done.done():  # the caller was cancelled
            continue
        if failure is not None:
            job.done.set_exception(failure)
        else:
            job.done.set_result(result)
