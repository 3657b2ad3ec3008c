"""Score quantiles of the versions that really answered.

The fusion artifact holds the quantiles of the versions it was tuned on. Another
version may score on another scale, so its own manifest is read from the model
repository, once, and not on a request's time: until it is there, and for servers
whose artifacts lie elsewhere, the artifact's stand in.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from artifacts import manifest as manifests
from artifacts.errors import ArtifactError
from artifacts.fusion import FusionArtifact
from gateway.fusion.types import Floats
from gateway.types import Outcome, SourceAnswer

_log = logging.getLogger(__name__)
Pair = tuple[Floats, Floats]  # probabilities, scores; both ascending
# A source that invents versions must not fill the memory; counted anew with each fusion.
_MOST_VERSIONS = 64


class Quantiles:
    """Quantiles by source and version. Belongs to the event loop."""

    def __init__(self, repository: Path, fusion: FusionArtifact) -> None:
        self._repository = repository
        self._tasks: set[asyncio.Task[None]] = set()
        self.learn(fusion)

    def learn(self, fusion: FusionArtifact) -> None:
        """Take the artifact that answers are calibrated by from now on."""
        self._learned = fusion.quantiles
        self._read: dict[tuple[str, str], Pair | None] = {}
        self._tuned_on = {source: str(version) for source, version in fusion.tuned_on.items()}

    def of(self, answers: Iterable[SourceAnswer]) -> Mapping[str, Pair]:
        """Return source -> quantiles for what these answers were answered by."""
        others = {
            a.source: own
            for a in answers
            if a.outcome is Outcome.OK and a.version != self._tuned_on.get(a.source)
            if (own := self._own(a.source, a.version)) is not None
        }
        return {**self._learned, **others} if others else self._learned

    def _own(self, source: str, version: str) -> Pair | None:
        known = (source, version) in self._read
        # A version becomes part of a path: nothing but a number may.
        number = version.isascii() and version.isdecimal()
        if not known and number and len(self._read) < _MOST_VERSIONS:
            self._read[source, version] = None
            task = asyncio.create_task(self._load(source, version))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._read.get((source, version))

    async def _load(self, source: str, version: str) -> None:
        directory = self._repository / source / version
        self._read[source, version] = await asyncio.to_thread(_from_manifest, directory)


def _from_manifest(directory: Path) -> Pair | None:
    """Return what a manifest says, None where there is none or it says nothing usable."""
    try:
        points = manifests.read(directory).score_quantiles
    except (ArtifactError, OSError) as error:
        _log.info("quantiles of the fusion stand in", extra={"reason": str(error)})
        return None
    both = tuple(
        np.array(column, np.float32)
        for column in ([p.probability for p in points], [p.score for p in points])
    )
    rising = all(np.isfinite(v).all() and (np.diff(v) >= 0).all() for v in both)
    return (both[0], both[1]) if len(points) and rising else None
