"""A shop's own tables, imported or refused."""

from pathlib import Path

import pytest

from models.data.dataset import Dataset, load_dataset
from models.data.errors import SourceError
from models.data.importers import Options, import_dataset


def imported(source: Path, kind: str = "csv", options: Options | None = None) -> Dataset:
    destination = source.parent / "imported"
    import_dataset(kind, source, destination, options)
    return load_dataset(destination)


def refused(source: Path, message: str, options: Options | None = None) -> None:
    destination = source.parent / "refused"
    with pytest.raises(SourceError, match=message):
        import_dataset("csv", source, destination, options)
    assert not destination.exists()
