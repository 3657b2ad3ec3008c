"""kill -9 of models: each in turn, three, all four. The supervisor starts them again."""

from benchmarks.chaos.faults.sources import SourceTrial
from benchmarks.chaos.world import World
from cli.topology import SOURCES


def _trial(victims: tuple[str, ...], words: str) -> SourceTrial:
    pids: dict[str, int] = {}

    def act(world: World) -> None:
        pids.update({victim: world.fleet.kill(victim) for victim in victims})

    def undo(world: World) -> None:
        """Wait for the supervisor: from the restart on, time counts."""
        world.until(lambda: all(world.fleet.pid(v) != pid for v, pid in pids.items()))

    return SourceTrial(f"kill-{words.replace(' ', '-')}", f"kill -9 of {words}", victims, act, undo)


TRIALS = (
    *(_trial((source,), source) for source in SOURCES),
    _trial(SOURCES[:3], "three"),
    _trial(SOURCES, "all four"),
)
