"""The door to one kind of work: so many inside, some waiting by rank, the rest refused at once.

Who may wait is decided on arrival and never taken back, so a refusal costs its
caller no time: lower ranks may only join while the queue is short, the rest of it
is kept for higher ones (trunk reservation, as telephone exchanges do it: F. Kelly,
"Loss networks", 1991). Whoever waits goes in by rank, then by arrival; who has
no time left goes out before any work was done.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

from gateway.admission.limit import Limit
from gateway.admission.notes import Notes
from services.runtime.errors import DeadlineExceeded, ResourceExhausted

# Between two pushbacks in a row; the golden ratio spreads any number of them evenly.
_GOLDEN = 0.618034
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class _Waiter:
    __slots__ = ("arrived", "kind", "place", "until")

    def __init__(
        self, kind: str, until: float, place: asyncio.Future[None], arrived: float
    ) -> None:
        self.kind = kind
        self.until = until
        self.place = place
        self.arrived = arrived


class Visit:
    """A call that is inside."""

    __slots__ = ("_began", "_clock", "_noted")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._noted: tuple[float | None] | None = None

    def note(self, seconds: float | None) -> None:
        """Say how long the machine took for it, where that is not the time it was inside.

        None: that cannot be told.
        """
        self._noted = (seconds,)

    @property
    def elapsed(self) -> float:
        """Seconds since it was let in."""
        return self._clock() - self._began

    @property
    def took(self) -> float | None:
        """What was noted, or the time it was inside."""
        return self.elapsed if self._noted is None else self._noted[0]


class Gate:
    """Admits calls of some kinds. Belongs to the event loop."""

    def __init__(
        self,
        ranks: Mapping[str, int],
        limit: Limit,
        notes: Notes,
        *,
        queue_share: float = 0.5,
        moved: Callable[[float, float], None] = lambda *_: None,
        came: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`ranks`: 0 is served first; `moved` hears of the load and the time, window by window.

        `queue_share`: places in the queue for each place inside; a full queue makes a call
        wait for about this part of the time that it takes. `came` hears of every call,
        whatever becomes of it.
        """
        self._ranks = ranks
        self._limit = limit
        self._notes = notes
        self._queue_share = queue_share
        self._moved = moved
        self._came = came
        self._clock = clock
        self._queues = [deque[_Waiter]() for _ in range(max(ranks.values()) + 1)]
        self._inside = 0
        self._waiting = 0
        self._pauses = 0
        self._refused = self._admitted = 0  # in this window
        notes.limit(limit.value)

    @property
    def fair_seconds(self) -> float:
        """What a call should take at most."""
        return self._limit.target

    def admitted(self, kind: str, until: float) -> "Admission":
        """Do something once there is a place for it; `until` (clock) it must be done.

        Entering raises ResourceExhausted where it will not be done in time, at once, and
        DeadlineExceeded where that shows only while it waits.
        """
        return Admission(self, kind, until)

    async def enter(self, kind: str, until: float) -> Visit:
        """Wait for a place; see `admitted`, which gives it back by itself."""
        self._came()
        now = self._clock()
        if self._inside < self._limit.value and not self._waiting:
            if self._crowded and now + self._limit.typical > until:
                # It comes from a queue before this one, or in too much of a hurry.
                raise self._refusal(kind, "no_time")
            self._admit(kind, 0.0)
        else:
            await self._queue(kind, until, now)
        return Visit(self._clock)

    def leave(self, visit: Visit, error: type[BaseException] | None) -> None:
        """Give the place back; `error` says how it ended, None: as it should."""
        took = visit.took
        if error is not None and not issubclass(error, asyncio.CancelledError):
            took = None  # says nothing about how quick the machine is
        elif error is not None and took is not None:
            # Its caller gave up: it would have taken at least as long.
            took = max(visit.elapsed, self._limit.typical)
        self._leave(took)

    async def _queue(self, kind: str, until: float, now: float) -> None:
        rank = self._ranks[kind]
        if self._waiting >= self._room(rank):
            raise self._refusal(kind, "full")
        if now + self._expected_wait() + self._limit.typical > until:
            raise self._refusal(kind, "no_time")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue, waiter = self._queues[rank], _Waiter(kind, until, place, now)
        queue.append(waiter)
        self._waiting += 1
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                if waiter in queue:  # else it was passed over, and is not counted any more
                    queue.remove(waiter)
                    self._waiting -= 1
                self._notes.refused(kind, "cancelled")
            elif place.exception() is None:  # let in and cancelled in the same moment
                self._leave(None)
            raise

    @property
    def _crowded(self) -> bool:
        """Whether a call that is late takes the place of another; else it may try its luck."""
        return 2 * self._inside >= self._limit.value

    def _room(self, rank: int) -> float:
        """How many may wait when one of this rank comes: half the queue is for the first alone."""
        whole = max(1.0, self._queue_share * self._limit.value)
        return whole * (1 - rank / (2 * max(1, len(self._queues) - 1)))

    def _expected_wait(self) -> float:
        return self._limit.typical * (self._waiting + 1) / self._limit.value

    def _admit(self, kind: str, waited: float) -> None:
        self._inside += 1
        self._admitted += 1
        self._notes.admitted(kind, waited)

    def _leave(self, seconds: float | None) -> None:
        now = self._clock()
        if seconds is not None and self._limit.note(seconds, self._inside, now):
            self._notes.limit(self._limit.value)
            self._moved(self._limit.load, now)
            self._refused = self._admitted = 0
        self._inside -= 1
        while self._inside < self._limit.value and (waiter := self._next()) is not None:
            self._call_in(waiter, now)

    def _next(self) -> _Waiter | None:
        for queue in self._queues:
            while queue:
                waiter = queue.popleft()
                # At once: a call that comes now must not wait for one that has gone.
                self._waiting -= 1
                if not waiter.place.done():  # else its caller has gone
                    return waiter
        return None

    def _call_in(self, waiter: _Waiter, now: float) -> None:
        if now + self._limit.typical > waiter.until:
            self._notes.refused(waiter.kind, "expired")
            problem = "waited for its turn until too little time was left"
            waiter.place.set_exception(DeadlineExceeded(problem))
            return
        self._admit(waiter.kind, now - waiter.arrived)
        waiter.place.set_result(None)

    def _refusal(self, kind: str, reason: str) -> ResourceExhausted:
        self._refused += 1
        self._notes.refused(kind, reason)
        return ResourceExhausted(
            "more is asked than can be answered in time; try again after the pause "
            "in grpc-retry-pushback-ms",
            retry_after_ms=int(1000 * self._pause()),
        )

    def _pause(self) -> float:
        """Seconds until another try: the longer, the more are refused; never all at one moment."""
        turn = self._limit.typical + self._expected_wait()
        crowd = 1 + self._refused / max(1, self._admitted)
        self._pauses += 1
        spread = 0.5 + self._pauses * _GOLDEN % 1
        return min(max(turn * crowd, _SHORTEST_PAUSE), _LONGEST_PAUSE) * spread


class Admission:
    """One call's way in and out, for `async with`: a class, which costs less than a generator."""

    __slots__ = ("_gate", "_kind", "_until", "_visit")

    def __init__(self, gate: Gate, kind: str, until: float) -> None:
        self._gate = gate
        self._kind = kind
        self._until = until

    async def __aenter__(self) -> Visit:
        self._visit = await self._gate.enter(self._kind, self._until)
        return self._visit

    async def __aexit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._gate.leave(self._visit, error)
