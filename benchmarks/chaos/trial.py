"""What a trial is: a fault with a name, how it is brought about, and a verdict in checks.

A check says what must hold, what was measured, and whether it held. Bounds on time and
memory are marked: a short run on a busy machine judges the others and only reports those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from benchmarks.chaos.world import World


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    must: str
    measured: str
    held: bool
    # A bound on time or memory, judged by `make chaos` alone.
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Wiring:
    """What stands between the gateway and its sources, and how they are set up."""

    # Source behind a gRPC proxy that meddles with answers (meddler.py).
    meddled: str = ""
    # Source behind a TCP proxy that resets connections (cutter.py).
    cut: str = ""
    # Whether the gateway's state lies on a disk that can be filled.
    small_disk: bool = False


PLAIN = Wiring()


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: `make chaos` and the tests differ in this alone."""

    # Longest a ranking may take, as the gateway is told; answers are judged by it.
    deadline_ms: int = 250
    # Requests per second while a fault is on; 0: a share of what was measured.
    rate: float = 0.0
    share: float = 0.25
    # Seconds of calm before a fault, and seconds it lasts.
    calm: float = 2.0
    hold: float = 6.0
    # Longest wait for anything to come back; not judged.
    patience: float = 60.0
    # Bound on coming back after the cause is gone, judged where bounds are.
    back: float = 5.0
    events_per_second: int = 2_000
    event_seconds: float = 15.0
    gateway_kills: int = 3
    overload_seconds: float = 60.0
    malformed: int = 100_000
    raw: int = 5_000
    soak_minutes: float = 2.0
    bounds: bool = True
    seed: int = 0


FULL = Scale()
SHORT = Scale(
    deadline_ms=400, rate=12.0, calm=0.3, hold=3.0, events_per_second=400, event_seconds=2.5,
    gateway_kills=1, overload_seconds=3.0, malformed=600, raw=60, soak_minutes=0.05,
    bounds=False,
)  # fmt: skip


class Trial(Protocol):
    """One fault, brought about and undone."""

    @property
    def name(self) -> str:
        """A short name, for the command line."""
        ...

    @property
    def fault(self) -> str:
        """What breaks, in words."""
        ...

    @property
    def wiring(self) -> Wiring:
        """The world it needs; trials with the same share one."""
        ...

    def run(self, world: "World", scale: Scale) -> Sequence[Check]:
        """Bring it about, watch, undo; whatever happens, the fault is gone afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What a trial found."""

    name: str
    fault: str
    checks: tuple[Check, ...]
    seconds: float

    def failed(self, *, bounds: bool) -> tuple[Check, ...]:
        """Return what should have held and did not; with `bounds`, bounds count too."""
        return tuple(c for c in self.checks if not c.held and (bounds or not c.bound))

    def passed(self, *, bounds: bool) -> bool:
        """Say whether all that counts held."""
        return not self.failed(bounds=bounds)
