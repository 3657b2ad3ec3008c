"""The sequence service: one causal self-attention graph over an ordered history.

The order of the history matters here, so it must arrive oldest to newest; the
runtime does the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.runtime import service
from services.runtime.engine_model import EngineModel
from services.runtime.source import Source


@dataclass(frozen=True)
class Config(service.ServiceConfig):
    """Settings, see ServiceConfig."""

    port: int = 50053
    metrics_port: int = 9153


def open_models(directory: Path) -> Mapping[str, EngineModel]:
    """Open one version; raises ArtifactError."""
    return {"sequence": EngineModel.open("sequence", directory)}


SOURCE = Source("sequence", ("sequence",), open_models)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until a signal; return the exit code."""
    return service.main(SOURCE, Config, argv, environ)
