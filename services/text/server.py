"""The text service: answers queries, and turns the text of new items into vectors.

`text` is a recommender that reads a query, a history or both. `text-items` is
its encoder alone: the gateway asks it for the vector of an item that was
upserted a moment ago and searches with it at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.engine import Scores
from artifacts.engines.encoder import WIDTH, TextEncoder
from artifacts.engines.text import TextEngine
from services.runtime import service
from services.runtime.encoder_model import Columns, EncoderModel, column
from services.runtime.engine_model import EngineModel
from services.runtime.model import Model
from services.runtime.source import Source

ITEM_INPUTS = (column("text", "BYTES", optional=False),)


@dataclass(frozen=True)
class Config(service.ServiceConfig):
    """Settings, see ServiceConfig."""

    port: int = 50054
    metrics_port: int = 9154


def open_models(directory: Path) -> Mapping[str, Model[Any]]:
    """Open one version; raises ArtifactError."""
    text = EngineModel.open("text", directory)
    # One encoder for queries and items: it is most of what a version keeps in memory.
    engine = text.engine
    encoder = engine.encoder if isinstance(engine, TextEngine) else TextEncoder(directory)

    def encode(columns: Columns) -> Scores:
        return encoder.encode([str(t) for t in columns["text"]])

    return {"text": text, "text-items": EncoderModel(text.version, ITEM_INPUTS, WIDTH, encode)}


SOURCE = Source("text", ("text", "text-items"), open_models)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until a signal; return the exit code."""
    return service.main(SOURCE, Config, argv, environ)
