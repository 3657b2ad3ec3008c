"""What to run, on what: the configuration of a fleet, and what its children are told."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from artifacts.layout import find
from cli.topology import FUSION, NAMES, Topology, usual


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """What to run, on what."""

    # None: each process's own setting (file, environment, default) counts, and
    # whoever made this has checked it.
    repository: Path | None
    state: Path | None
    topology: Topology = field(default_factory=usual)
    # Sources of the gateway that run elsewhere, name to address: a fifth model, or one of the four.
    other_sources: Mapping[str, str] = field(default_factory=dict)
    # Settings for the children, beside what the topology says: PLAIT_<PROCESS>_<SETTING>.
    settings: Mapping[str, str] = field(default_factory=dict)
    # Sources that nothing was trained for; they are not in the topology.
    untrained: tuple[str, ...] = ()
    # And those that the gateway is set not to ask.
    unasked: tuple[str, ...] = ()
    # Seconds until a process must report SERVING: loading replays samples, and on a busy
    # machine the first start of a release compiles for a minute. One that ends is told at once.
    start_seconds: float = 180.0
    # Seconds for a clean end; longer and the process group is killed.
    stop_seconds: float = 8.0
    # Pause before the first restart; doubles up to the longest, and is forgotten
    # once a process has stayed up for a while.
    first_pause: float = 0.5
    longest_pause: float = 15.0
    calm_seconds: float = 30.0
    restart: bool = True


def child_environment(config: FleetConfig) -> dict[str, str]:
    """Return the environment of the children: ours, the topology, the settings."""
    made = dict(os.environ)
    for end in config.topology.all:
        prefix = f"PLAIT_{end.name.upper()}"
        made[f"{prefix}_HOST"] = end.host
        made[f"{prefix}_PORT"] = str(end.port)
        made[f"{prefix}_METRICS_PORT"] = str(end.metrics_port)
    if config.repository is not None:
        # Also of those that have no process of their own.
        made.update({f"PLAIT_{name.upper()}_REPOSITORY": str(config.repository) for name in NAMES})
    if config.state is not None:
        made["PLAIT_GATEWAY_STATE"] = str(config.state)
    # Without services of their own the models are in the gateway, which needs no addresses.
    if config.topology.sources:
        sources = {end.name: end.dialled for end in config.topology.sources}
        sources |= config.other_sources
        made["PLAIT_GATEWAY_SOURCES"] = ",".join(f"{name}={at}" for name, at in sources.items())
    made.update(config.settings)
    return made


def check_artifacts(config: FleetConfig) -> None:
    """Raise ArtifactMissing naming the first source that has no artifact."""
    if config.repository is not None:
        for name in (*(end.name for end in config.topology.sources), FUSION):
            find(config.repository, name)
