"""From a directory to an engine that has proven itself."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

from artifacts import manifest as manifests
from artifacts.engine import Engine, replay_samples
from artifacts.errors import ArtifactCorrupt, ArtifactError
from artifacts.keys import Keys
from plait.v1.manifest_pb2 import Manifest

# Manifest.engine to what loads it. A fifth model that exports a graph of the
# common shape needs no line here. Names, so that an engine is imported by whoever
# serves it: only the text images hold tantivy.
ENGINES = {
    "graph": "artifacts.engines.graph:GraphEngine",
    "indexed": "artifacts.engines.indexed:IndexedEngine",
    "neighbours": "artifacts.engines.neighbours:NeighbourEngine",
    "text": "artifacts.engines.text:TextEngine",
}


def load(directory: Path) -> Engine:
    """Verify the files, build the engine, replay its samples.

    Raises an ArtifactError that names the file and the remedy.
    """
    manifest, keys = manifests.verify(directory)
    if manifest.engine not in ENGINES:
        raise ArtifactCorrupt(
            f"{directory / 'manifest.json'}: unknown engine '{manifest.engine}', "
            f"this release has {', '.join(ENGINES)}"
        )
    engine = _engine(directory, manifest.engine)(directory, manifest, keys)
    replay_samples(engine, str(directory))
    return engine


def _engine(directory: Path, name: str) -> Callable[[Path, Manifest, Keys], Engine]:
    module, _, attribute = ENGINES[name].partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ArtifactError(
            f"{directory}: engine '{name}' needs the package '{error.name}', which is not "
            f"installed here; pip install 'plait[cpu,text]', or use the image of this source"
        ) from None
    return cast(Callable[[Path, Manifest, Keys], Engine], found)
