"""Systems side by side: started, checked against each other, measured in interleaved rounds."""

import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.job.merge import Keys
from benchmarks.job.reference import Reference
from benchmarks.job.wire import CODECS, WrongReply, differences
from benchmarks.measure import Client, Figures, task
from benchmarks.systems.process import NotAvailable
from benchmarks.systems.system import Door, System
from benchmarks.transport import open_pipe
from cli.failures import UserError

# Fixed requests that every system must answer alike before it is measured.
CHECKED = 24


class Disagreement(UserError):
    """A system does another job than the others: the run ends."""


@dataclass(slots=True)
class Row:
    """One system's part in the run."""

    system: System
    door: Door | None = None
    # Why it is not measured; "" where it is.
    missing: str = ""
    # By load ("16" callers, ...): one entry a round.
    rounds: dict[str, list[Figures]] = field(default_factory=dict)


class Contest:
    """Holds the rows; `close()` leaves nothing running."""

    def __init__(
        self, systems: Sequence[System], client: Client, checks: tuple[Keys, Reference],
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        """`checks`: the fixed histories [CHECKED, L] and what answers them."""
        self.rows = [Row(system) for system in systems]
        self._client = client
        self._histories, reference = checks
        self._expected = reference.answer(self._histories)
        self._say = say

    def start(self) -> None:
        """Start and check everything that may stay up."""
        for row in self.rows:
            if row.system.resident:
                self._open(row)

    def round(self, loads: Mapping[str, Mapping[str, Any]], seconds: float, seed: int) -> None:
        """Measure every system under every load (name -> arguments of Task), once."""
        for name, how in loads.items():
            for row in self.rows:
                if row.system.resident:
                    self._measure(row, name, task_of(row, seconds, seed, how))
        for row in self.rows:
            if not row.system.resident and not row.missing:
                self._open(row)
                for name, how in loads.items():
                    self._measure(row, name, task_of(row, seconds, seed, how))
                self._shut(row)

    def close(self) -> None:
        """Stop everything, the last started first."""
        for row in reversed(self.rows):
            self._shut(row)

    def medians(self) -> dict[str, Any]:
        """Return system -> load -> figures, or system -> {"not available": why}."""
        return {
            row.system.name: {"not available": row.missing} if row.missing
            else {name: median(rounds) for name, rounds in row.rounds.items()}
            for row in self.rows
        }  # fmt: skip

    def _open(self, row: Row) -> None:
        self._say(f"starting {row.system.name}")
        try:
            row.door = row.system.start()
            self._check(row.system.name, row.door)
        except Disagreement:
            raise
        except (NotAvailable, UserError, OSError) as error:
            self._lose(row, error)

    def _lose(self, row: Row, error: Exception) -> None:
        row.missing = str(getattr(error, "message", error))
        self._say(f"{row.system.name}: not available: {row.missing}")
        self._shut(row)

    def _shut(self, row: Row) -> None:
        row.door = None
        row.system.stop()

    def _measure(self, row: Row, name: str, wanted: Any) -> None:
        if wanted is None:
            return
        self._say(f"{row.system.name}, {name}")
        try:
            seen = self._client.measure(wanted, row.system)
        except NotAvailable as error:
            self._lose(row, error)
            return
        row.rounds.setdefault(name, []).append(seen)

    def _check(self, name: str, door: Door) -> None:
        """Ask the fixed requests; raises Disagreement, or NotAvailable where it fails."""
        replies = asyncio.run(_ask_all(door, self._histories))
        for number, (reply, failure) in enumerate(replies):
            if failure:
                raise NotAvailable(f"request {number}: {failure}")
            try:
                answer = CODECS[door.codec].reply(reply)
            except WrongReply as error:
                raise NotAvailable(f"request {number}: {error}") from None
            why = differences(answer, self._expected[number]) if door.exact else ""
            if why:
                raise Disagreement(f"{name} answers request {number} differently: {why}")


async def _ask_all(door: Door, histories: Keys) -> list[tuple[bytes, str]]:
    codec = CODECS[door.codec]
    async with open_pipe(door.kind, door.address, door.path, codec.content_type) as pipe:
        return [await pipe.ask(codec.request(n, h), 20.0) for n, h in enumerate(histories)]


def task_of(row: Row, seconds: float, seed: int, how: Mapping[str, Any]) -> Any:
    """Return the task of a row under a load, None where it cannot be asked."""
    return None if row.door is None else task(row.door, seconds, seed, **how)


def median(rounds: Sequence[Figures]) -> Figures:
    """Return the median over rounds of every number."""
    made: Figures = {}
    for key, value in rounds[0].items():
        values = [r[key] for r in rounds if key in r]
        if key == "failures":
            made[key] = {name: n for found in values for name, n in found.items()}
        elif isinstance(value, Mapping):
            made[key] = median(values)
        else:
            made[key] = statistics.median(values)
    return made
