"""What the benchmark needs to know of a system, whatever it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from benchmarks.job import HISTORY


@dataclass(frozen=True, slots=True)
class Door:
    """Where a client asks, and in which words (see benchmarks.job.wire)."""

    kind: str  # "grpc" or "http"
    address: str
    path: str
    codec: str
    # Items in each shopper's history.
    length: int = HISTORY
    # Whether the answers are the job's; False: only whole ones (other terms are in the score).
    exact: bool = True


class System(Protocol):
    """Something that does the job."""

    name: str
    # Whether it may stay up while others are measured: it must cost nothing at rest.
    resident: bool

    def start(self) -> Door:
        """Start everything and return when it answers; raises NotAvailable or UserError."""
        ...

    def processes(self) -> Mapping[str, int]:
        """Return its processes by name; their children count as theirs."""
        ...

    def stop(self) -> None:
        """End everything it started; harmless where nothing runs."""
        ...
