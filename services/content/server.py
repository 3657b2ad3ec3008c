"""The content service: recommends by what items are, and places new items among them.

`content` is a recommender over the vectors of known items. `content-items` is
its item tower alone: the gateway asks it for the vector of an item that was
upserted a moment ago, which is comparable with `content`'s user vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from artifacts.engine import Scores
from artifacts.engines.item_tower import ItemTower
from plait.v1.manifest_pb2 import TensorSpec
from services.runtime import service
from services.runtime.encoder_model import Columns, EncoderModel, column, vector
from services.runtime.engine_model import EngineModel
from services.runtime.model import Model
from services.runtime.source import Source

ITEM_INPUTS = (
    column("text", "BYTES", optional=False),
    column("category", "BYTES", optional=True),
    column("brand", "BYTES", optional=True),
    column("domain", "BYTES", optional=True),
    column("provider", "BYTES", optional=True),
    column("price", "FP32", optional=True),
)


@dataclass(frozen=True)
class Config(service.ServiceConfig):
    """Settings, see ServiceConfig."""

    port: int = 50052
    metrics_port: int = 9152


def open_models(directory: Path) -> Mapping[str, Model[Any]]:
    """Open one version; raises ArtifactError."""
    content = EngineModel.open("content", directory)
    tower = ItemTower(directory, content.engine.manifest)

    def encode(columns: Columns) -> Scores:
        text, category, brand, domain, provider = (
            cast(Sequence[str], columns[s.name]) for s in ITEM_INPUTS[:-1]
        )
        price = cast(Scores, columns["price"])
        images = cast(Scores | None, columns.get("image_vector"))
        return tower.encode(text, category, brand, domain, price, provider, images)

    inputs: tuple[TensorSpec, ...] = ITEM_INPUTS
    if tower.image_width:
        inputs = (*inputs, vector("image_vector", tower.image_width))
    items = EncoderModel(content.version, inputs, content.embedding_width, encode)
    return {"content": content, "content-items": items}


SOURCE = Source("content", ("content", "content-items"), open_models)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until a signal; return the exit code."""
    return service.main(SOURCE, Config, argv, environ)
