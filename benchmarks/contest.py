"""Systems side by side: started, checked against each other, measured in interleaved rounds."""

import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.job.merge import Keys
from benchmarks.job.reference import Reference
from benchmarks.job.wire import CODECS, WrongReply, differences
from benchmarks.job.world import World
from benchmarks.load import SHOPPERS
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
    # Measurements without a single right answer, and what came instead.
    empty: list[str] = field(default_factory=list)


# What a row is to be measured under: name of the load -> arguments of Task.
Plan = Callable[[str, Row], Mapping[str, Mapping[str, Any]]]


class Examiner:
    """Fixed requests, and the answers that they must have."""

    def __init__(self, shop: World, reference: Reference) -> None:
        self._shop = shop
        self._reference = reference

    def check(self, name: str, door: Door) -> None:
        """Ask the fixed requests; raises Disagreement, or NotAvailable where one fails."""
        histories = self._shop.histories(SHOPPERS, door.length)[:CHECKED]
        expected = self._reference.answer(histories)
        for number, (reply, failure) in enumerate(asyncio.run(_ask_all(door, histories))):
            if failure:
                raise NotAvailable(f"request {number}: {failure}")
            try:
                answer = CODECS[door.codec].reply(reply)
            except WrongReply as error:
                raise NotAvailable(f"request {number}: {error}") from None
            why = differences(answer, expected[number]) if door.exact else ""
            if why:
                raise Disagreement(f"{name} answers request {number} differently: {why}")


class Contest:
    """Holds the rows; `close()` leaves nothing running."""

    def __init__(
        self, systems: Mapping[str, System], client: Client, examiner: Examiner,
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.rows = {key: Row(system) for key, system in systems.items()}
        self._client = client
        self._examiner = examiner
        self._say = say

    def start(self) -> None:
        """Start and check everything that may stay up."""
        for row in self.rows.values():
            if row.system.resident:
                self._open(row)

    def round(self, plan: Plan, seconds: float, seed: int) -> None:
        """Measure every system under every load that is planned for it, once.

        Load by load, so that the same load on two systems is moments apart; a system
        that costs something at rest has its turn when the others have had theirs.
        """
        plans = {key: plan(key, row) for key, row in self.rows.items()}
        staying = {key: row for key, row in self.rows.items() if row.system.resident}
        for name in dict.fromkeys(name for key in staying for name in plans[key]):
            for key, row in staying.items():
                self._measure(row, name, seconds, seed, plans[key].get(name))
        for key, row in self.rows.items():
            if key not in staying and not row.missing and plans[key]:
                self._open(row)
                for name, how in plans[key].items():
                    self._measure(row, name, seconds, seed, how)
                self._shut(row)

    def close(self) -> None:
        """Stop everything, the last started first."""
        for row in reversed(self.rows.values()):
            self._shut(row)

    def medians(self) -> dict[str, Any]:
        """Return system -> load -> figures, or system -> {"not available": why}."""
        return {
            row.system.name: {"not available": row.missing} if row.missing
            else {name: median(rounds) for name, rounds in row.rounds.items()}
            for row in self.rows.values()
        }  # fmt: skip

    def empty(self) -> dict[str, list[str]]:
        """Return system -> its measurements that had no right answer."""
        return {row.system.name: row.empty for row in self.rows.values() if row.empty}

    def _open(self, row: Row) -> None:
        self._say(f"starting {row.system.name}")
        try:
            row.door = row.system.start()
            self._examiner.check(row.system.name, row.door)
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

    def _measure(
        self, row: Row, name: str, seconds: float, seed: int, how: Mapping[str, Any] | None
    ) -> None:
        if row.door is None or how is None:
            return
        self._say(f"{row.system.name}, {name}")
        try:
            seen = self._client.measure(task(row.door, seconds, seed, **how), row.system)
        except NotAvailable as error:
            row.empty.append(f"{name}: {error}")
            self._say(f"{row.system.name}, {row.empty[-1]}")
            return
        row.rounds.setdefault(name, []).append(seen)


async def _ask_all(door: Door, histories: Keys) -> list[tuple[bytes, str]]:
    codec = CODECS[door.codec]
    async with open_pipe(door.kind, door.address, door.path, codec.content_type) as pipe:
        return [await pipe.ask(codec.request(n, h), 20.0) for n, h in enumerate(histories)]


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
