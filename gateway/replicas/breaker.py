"""A circuit breaker: stops calling a server that keeps failing, and finds out when it is well.

closed ──failures──> open ──rest is over and it gave a sign of life──> half open
   ^                   ^                                                   │
   └───── answered ────┼────────────────── failed (rests longer) ──────────┘
The sign of life is somebody else's business (a replica describes its model), so a
server that is merely silent costs no shopper anything while it is. A trial is one
real call at a time, as only a real answer proves that answers are usable.

Pure: the clock is given, nothing is awaited.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

# The epoch of calls whose verdict never counts.
_NEVER = -1


class State(Enum):
    """What a breaker lets through: everything, nothing, one call at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Verdict(Enum):
    """What a call said about its server; UNTOLD: nothing, for example as it was cancelled."""

    GOOD = "good"
    BAD = "bad"
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True)
class Rules:
    """When a breaker opens and for how long."""

    # Failures in a row. Fewer: a dead server is left alone sooner; more: a stumble is borne.
    failures: int = 5
    # Share of failures among the calls of about the last `window` seconds, for a server
    # that fails now and then; counted once there were `least_calls`.
    ratio: float = 0.5
    least_calls: int = 20
    window: float = 10.0
    # Seconds of rest; doubled by each trial that fails, up to `longest_rest`.
    rest: float = 0.5
    longest_rest: float = 4.0


class Breaker:
    """Watches the calls to one server."""

    def __init__(
        self, rules: Rules, clock: Callable[[], float], changed: Callable[[State], None]
    ) -> None:
        """`clock` in seconds; `changed` is told each new state."""
        self._rules = rules
        self._clock = clock
        self._changed = changed
        self.state = State.CLOSED
        # Verdicts on calls that began before the last change are too old to count.
        self._epoch = 0
        self._trials = 0
        self._rest = rules.rest
        self._until = 0.0
        self._forget()

    def _forget(self) -> None:
        self._row = 0
        self._good = 0.0
        self._bad = 0.0
        self._counted_at = self._clock()

    @property
    def admits(self) -> bool:
        """Whether a call may be made now."""
        return self.state is State.CLOSED or (self.state is State.HALF_OPEN and not self._trials)

    @property
    def rest_left(self) -> float:
        """Seconds until it may be tried again; 0 unless open."""
        return max(0.0, self._until - self._clock()) if self.state is State.OPEN else 0.0

    def enter(self, *, tells: bool = True) -> "Entry":
        """Note a call that is being made; settle what is returned, once.

        `tells` False: how it ends says nothing, and while one call at a time is let through
        it is not that call.
        """
        if not tells:
            return Entry(self, _NEVER)
        if self.state is State.HALF_OPEN:
            self._trials += 1
        return Entry(self, self._epoch)

    def try_again(self) -> None:
        """Note a sign of life: after its rest, an open breaker lets trials through."""
        if self.state is State.OPEN and not self.rest_left:
            self._become(State.HALF_OPEN)

    def settle(self, epoch: int, verdict: Verdict) -> None:
        """Take the verdict on a call that entered in `epoch`."""
        if epoch != self._epoch:
            return
        if self.state is State.HALF_OPEN:
            self._trials -= 1
            if verdict is Verdict.GOOD:
                self._become(State.CLOSED)
            elif verdict is Verdict.BAD:
                longest = max(self._rules.rest, self._rules.longest_rest)
                self._open(min(2 * self._rest, longest))
        elif self.state is State.CLOSED and verdict is not Verdict.UNTOLD:
            self._count(bad=verdict is Verdict.BAD)

    def _count(self, *, bad: bool) -> None:
        now = self._clock()
        kept = 0.5 ** ((now - self._counted_at) / self._rules.window)
        self._counted_at = now
        self._good = self._good * kept + (not bad)
        self._bad = self._bad * kept + bad
        self._row = self._row + 1 if bad else 0
        calls = self._good + self._bad
        often = calls >= self._rules.least_calls and self._bad >= self._rules.ratio * calls
        if self._row >= self._rules.failures or (bad and often):
            self._open(self._rules.rest)

    def _open(self, rest: float) -> None:
        self._rest = rest
        self._until = self._clock() + rest
        self._become(State.OPEN)

    def _become(self, state: State) -> None:
        self.state = state
        self._epoch += 1
        self._trials = 0
        self._forget()
        self._changed(state)


class Entry:
    """One call under way; only the first verdict on it counts."""

    __slots__ = ("_breaker", "_epoch", "_settled")

    def __init__(self, breaker: Breaker, epoch: int) -> None:
        self._breaker = breaker
        self._epoch = epoch
        self._settled = False

    def settle(self, verdict: Verdict) -> None:
        """Say how the call went."""
        if not self._settled:
            self._settled = True
            self._breaker.settle(self._epoch, verdict)
