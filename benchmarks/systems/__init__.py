"""The systems that do the job: how each is started, asked, counted and stopped."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.systems.bento import Bento
from benchmarks.systems.environment import PeersEnvironment
from benchmarks.systems.plain import Plain, PlainNewest
from benchmarks.systems.plait import (
    AS_THE_OTHERS,
    DEFAULTS,
    Embedded,
    FurtherGateway,
    Plait,
    Through,
)  # fmt: skip
from benchmarks.systems.ray_serve import RayServe
from benchmarks.systems.system import System
from benchmarks.systems.triton import Triton
from benchmarks.versions import Version
from cli.failures import UserError

# Those that are measured by default, and those that are where they are named.
USUAL = (
    "plait", "plait-events", "plait-whole", "plait-graph", "plait-embedded", "plain",
    "plain-newest", "triton", "ray", "bento",
)  # fmt: skip
ON_REQUEST = ("ray-each", "bento-each")


def check_names(only: Sequence[str]) -> None:
    """Raise UserError for a name that is no system's."""
    unknown = set(only) - {*USUAL, *ON_REQUEST}
    if unknown:
        there = ", ".join((*USUAL, *ON_REQUEST))
        raise UserError(f"--only: no system {sorted(unknown)}; there are {there}")


def line_up(
    repository: Path, work: Path, only: Sequence[str], beside: Sequence[Version] = ()
) -> dict[str, System]:
    """Return the systems to measure by short name, in the order of the table.

    `beside`: versions of Plait that are measured too, whatever `only` names.

    Two are measured only where they are named: Ray Serve and BentoML with each request
    asked alone, which is how their guides compose models, and two to six times slower.

    Raises UserError for a name in `only` that there is not.
    """
    peers = PeersEnvironment()
    plait = Plait(repository, work / "state.sqlite", work)
    every: dict[str, System] = {
        "plait": plait,
        "plait-events": Through("Plait, history in the request", plait, codec="events"),
        "plait-whole": FurtherGateway("Plait, whole pipeline", plait, DEFAULTS),
        "plait-graph": Plait(repository, work / "state.sqlite", work, AS_THE_OTHERS),
        "plait-embedded": Embedded(repository, work / "state.sqlite", work),
        "plain": Plain(repository, work),
        "plain-newest": PlainNewest(repository, work, peers),
        "triton": Triton(repository, work, peers),
        "ray": RayServe(repository, work, peers),
        "bento": Bento(repository, work, peers),
    }
    on_request: dict[str, System] = {
        "ray-each": RayServe(repository, work, peers, batched=False),
        "bento-each": Bento(repository, work, peers, batched=False),
    }
    check_names(only)
    # Others of Plait ask the services of the first, or are to be compared with it.
    needed = {"plait"} if beside or any(name.startswith("plait") for name in only) else set()
    versions: dict[str, System] = {
        f"plait={version.name}": Plait(repository, work / "state.sqlite", work, version)
        for version in beside
    }
    if not only:
        return every | versions
    return {n: s for n, s in (every | on_request).items() if n in needed | set(only)} | versions
