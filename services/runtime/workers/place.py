"""What a worker is told by its parent: its number, who that is, and the directory they share.

In the directory, which is in memory and ends with the parent, are the counts of all
workers (prometheus_client's mapped files), the picture of what they serve (group.py)
and, for each worker that serves, a file that says so.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import values

# Not PLAIT_...: those are settings, which people make.
_VARIABLE = "_PLAIT_WORKER"
# Where prometheus_client looks for the files.
_COUNTS = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among the others."""

    number: int
    # The parent's process id, told: a worker that asks may have been left by then.
    parent: int
    directory: Path

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables that tell a process its place."""
        return {
            _VARIABLE: f"{self.number}:{self.parent}:{self.directory}",
            _COUNTS: str(self.directory),
        }

    @property
    def serving_file(self) -> Path:
        """Return the file that is there while the worker serves."""
        return self.directory / f"{self.number}.serving"

    @property
    def follows_file(self) -> Path:
        """Return the file that says which picture the worker follows."""
        return self.directory / f"{self.number}.follows"

    def leave(self) -> None:
        """Say nothing any more; also for a worker that can't do so itself."""
        self.serving_file.unlink(missing_ok=True)
        self.follows_file.unlink(missing_ok=True)


def own_socket(path: Path, number: int) -> Path:
    """Return a worker's own Unix socket where the setting of its service is `path`."""
    return path.with_name(f"{path.name}.{number}")


def place_of(environ: Mapping[str, str]) -> Place | None:
    """Return the place of the process with this environment, None if it is no worker."""
    told = environ.get(_VARIABLE)
    if told is None:
        return None
    number, parent, directory = told.split(":", 2)
    return Place(int(number), int(parent), Path(directory))


def share_counts() -> bool:
    """Have a worker count in the shared directory; False where this process is none.

    Its number, not its process id, names its files: a worker started again goes on
    from the counts of the one before it, so that nothing is lost or counted twice.
    Must be called before the first metric is made.
    """
    place = place_of(os.environ)
    if place is not None:
        number = str(place.number)
        values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
    return place is not None
