"""The collaborative filtering service: one graph over a history, nothing else.

The whole service is a name, its ports and how its artifact opens; the runtime
does the rest.
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

    port: int = 50051
    metrics_port: int = 9151


def open_models(directory: Path) -> Mapping[str, EngineModel]:
    """Open one version; raises ArtifactError."""
    return {"cf": EngineModel.open("cf", directory)}


SOURCE = Source("cf", ("cf",), open_models)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until a signal; return the exit code."""
    return service.main(SOURCE, Config, argv, environ)
