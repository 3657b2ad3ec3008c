"""The systems that do the job: how each is started, asked, counted and stopped."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.systems.plain import Plain
from benchmarks.systems.plait import DEFAULTS, JOB, FurtherGateway, Plait
from benchmarks.systems.system import System
from cli.failures import UserError


def line_up(repository: Path, work: Path, only: Sequence[str]) -> list[System]:
    """Return the systems to measure, in the order of the table; `only`: short names.

    Raises UserError for a name there is not.
    """
    plait = Plait(repository, work / "state.sqlite", work)
    every: dict[str, System] = {
        "plait": plait,
        "plait-events": FurtherGateway(
            "Plait, history in the request", plait, JOB, "events", exact=True
        ),
        "plait-whole": FurtherGateway("Plait, whole pipeline, defaults", plait, DEFAULTS),
        "plain": Plain(repository, work),
    }
    unknown = set(only) - set(every)
    if unknown:
        raise UserError(f"--only: no system {sorted(unknown)}; there are {', '.join(every)}")
    needed = {"plait"} if any(name.startswith("plait") for name in only) else set()
    return [s for name, s in every.items() if not only or name in needed | set(only)]
