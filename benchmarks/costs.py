"""What a longer history, more sources, more candidates, metrics and explaining cost Plait.

Each line is a gateway of its own before the same four services, or the same
gateway asked otherwise; all take turns under 16 callers. CPU-milliseconds a
request tell most: the differences are smaller than what neighbours on a machine
do to throughput.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.systems.plait import JOB, FurtherGateway, Plait, Through, Unmetered
from benchmarks.systems.system import System

# Lengths of history that the state holds.
LENGTHS = (10, 50, 200)
BASE = "the job as above"
LOAD = {"16": {"callers": 16}}


def variants(plait: Plait, repository: Path, work: Path) -> dict[str, System]:
    """Return the lines of the table; Plait must run while they do."""
    some = ("content",), ("content", "text"), ("cf", "content", "text")
    made: list[System] = [
        Through(BASE, plait),
        Unmetered(repository, work / "state.sqlite", work),
        Through("explained", plait, codec="explained"),
        Through("history in the request", plait, codec="events"),
        *(Through(f"{n} events", plait, length=n) for n in LENGTHS if n != 50),
        *(
            FurtherGateway(f"{len(names)} source{'s' * (len(names) > 1)}", plait, JOB, names)
            for names in some
        ),
        *(
            FurtherGateway(f"{k} candidates", plait, {**JOB, "CANDIDATES": str(k)})
            for k in (50, 200, 400)
        ),
    ]
    return {system.name: system for system in made}


def ratios(rounds: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Return each line's CPU a request, the base of the same round being 1: the median."""
    base = [seen["cpu_ms_per_request"] for seen in rounds[BASE]]
    return {
        name: statistics.median(
            seen["cpu_ms_per_request"] / beside for seen, beside in zip(mine, base, strict=False)
        )
        for name, mine in rounds.items()
        if mine and base
    }
