"""What a service serves, and from a version's directory to models that have proven themselves."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import ArtifactCorrupt, ArtifactError
from services.runtime.model import Model

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """What a service serves and how it is made."""

    # The artifact's source: "cf", "content", ...
    name: str
    # Names of the models that come from one artifact; the first is usually `name`.
    models: tuple[str, ...]
    # Opens a version's directory; returns a model for each name. Raises ArtifactError.
    open: Callable[[Path], Mapping[str, Model[Any]]]


def prove(source: Source, directory: Path, max_rows: int) -> Mapping[str, Model[Any]]:
    """Load, replay the samples and warm up; blocks. Raises ArtifactError."""
    try:
        models = source.open(directory)
        for model in models.values():
            model.warm_up(sorted({1, min(8, max_rows), max_rows}))
    except ArtifactError:
        raise
    except Exception as error:  # files of another release fail in the libraries that read them
        _log.exception("a version fails to load")
        raise ArtifactCorrupt(
            f"{directory}: cannot be used ({type(error).__name__}: {error}); "
            "train the version anew with this release"
        ) from None
    return models
