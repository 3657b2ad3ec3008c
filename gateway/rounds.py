"""When the sources are asked: in rounds, all of them at the same moment.

There is no timer to wait for company: sources at rest are asked at once. Where each
went on as soon as it could, the fastest were called most often and with the fewest
rows, for shoppers who wait for the slowest all the same. So a round begins when every
source has a server to spare, and all that wait for one ride in it. A source that is
late holds the others up no longer than rounds usually take, and joins them again when
it answers.

While the gateway itself is what holds shoppers up, a round also waits until half of
those inside can ride in it: two halves that take turns, one asked about and one merged,
use the machine better than many small calls. (Sources with more servers have more calls
in flight, and each a smaller part.) Where the sources are what holds them up, the second
half is there before the first is answered: it is sent ahead, so that a server need not
wait between two calls until a busy gateway has heard of the one and sent the other.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gateway.traffic import Traffic

# A round waits at most this many turns of the loop for others to join, and no longer than
# so many of them have brought nothing: one step of a request may take some turns.
_MOST_TURNS = 200
_QUIET_TURNS = 4
# Calls hold the next round up for at most so many times what rounds usually take, and for
# so many seconds. Less: sources fall out of step when one is late by chance; more: one
# that is stuck holds the others up for longer.
_PATIENCE = 2.0
_LONGEST_HOLD = 0.05
# Of a round's time in the mean.
_NEWEST = 0.1


class Round:
    """Calls that were made at the same moment."""

    __slots__ = ("_heard", "_timer", "began", "calls", "left", "over")

    def __init__(self, now: float, heard: "Callable[[Round], None]") -> None:
        """`now` in seconds; `heard` is told of each call that ends."""
        self.began = now
        self.calls = 0
        self.left = 0
        # Whether those that are still in flight hold nobody up any more.
        self.over = False
        self._heard = heard
        self._timer: asyncio.TimerHandle | None = None

    def add(self) -> None:
        """Note a call that is made."""
        self.calls += 1
        self.left += 1

    def end(self) -> None:
        """Note that a call has ended."""
        self.left -= 1
        if self.left == 0 and self._timer is not None:
            self._timer.cancel()
        self._heard(self)

    def wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Be over after so many seconds, whatever is still in flight."""

        def over() -> None:
            self.over = True
            then()

        self._timer = asyncio.get_running_loop().call_later(seconds, over)


class Member(Protocol):
    """One source, as the rounds see it."""

    @property
    def ready(self) -> bool:
        """Whether rows wait, and it has a server that no call has."""
        ...

    @property
    def free(self) -> bool:
        """Whether it has a server to spare; calls of rounds that are over do not count."""
        ...

    @property
    def complete(self) -> bool:
        """Whether as many rows wait as are worth waiting for."""
        ...

    @property
    def spare(self) -> bool:
        """Whether its servers, none of them late, may each be sent a call ahead."""
        ...

    @property
    def plenty(self) -> bool:
        """Whether so many rows wait that a call ahead is worth its hop."""
        ...

    def send(self, made_in: Round, *, ahead: bool) -> None:
        """Make all calls that may be made; `ahead`, also those that wait at a busy server."""
        ...


class Rounds:
    """Begins them. One for all sources of a gateway; use it from one event loop."""

    def __init__(self, traffic: Traffic, clock: Callable[[], float] = time.perf_counter) -> None:
        self.traffic = traffic
        self._clock = clock
        self._members: list[Member] = []
        self._due = False
        # Seconds until all but the slowest of a round have answered: one source that is
        # ill must not teach the others to wait.
        self._usual = _LONGEST_HOLD / _PATIENCE

    def join(self, member: Member) -> None:
        """Take a source in."""
        self._members.append(member)

    def soon(self) -> None:
        """Begin a round as soon as may be; to be told of every row that comes."""
        if self._due or not self._possible():
            return
        self._due = True
        asyncio.get_running_loop().call_soon(self._settle, self.traffic.moves, 0, _MOST_TURNS)

    def _possible(self) -> bool:
        if self._free():
            return any(m.ready for m in self._members)
        return any(m.plenty for m in self._members) and all(m.spare for m in self._members)

    def _free(self) -> bool:
        return all(m.free for m in self._members)

    def _settle(self, before: int, quiet: int, turns: int) -> None:
        """Begin, unless the loop is at work for shoppers who may still join.

        A loop with nothing to do makes no moves: then nobody else is near, and the rows
        go at once.
        """
        moves = self.traffic.moves
        quiet = quiet + 1 if moves == before else 0
        if quiet < _QUIET_TURNS and turns and not any(m.complete for m in self._members):
            asyncio.get_running_loop().call_soon(self._settle, moves, quiet, turns - 1)
            return
        self._due = False
        self._begin()

    def _begin(self) -> None:
        made = Round(self._clock(), self._ended)
        ahead = not self._free()
        for member in self._members:
            member.send(made, ahead=ahead)
        if made.left:
            made.wait(min(_LONGEST_HOLD, _PATIENCE * self._usual), self.soon)

    def _ended(self, made: Round) -> None:
        if made.left == min(1, made.calls - 1):
            self._usual += _NEWEST * (self._clock() - made.began - self._usual)
        self.soon()
