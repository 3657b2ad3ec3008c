"""The canonical dataset: a directory of Parquet files that every model trains on.

One shape for all sources: an importer writes it once, everything after reads
only this. `items.parquet`, `events.parquet`, perhaps `queries.parquet` (columns
in models/data/schema.py), and `dataset.json`, which says where the data comes
from and what the import kept and dropped. A dataset appears all at once, by
renaming a finished directory.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl

from artifacts.keys import item_keys
from models.data.errors import DatasetError
from models.data.report import CleaningStep, Report
from models.data.schema import check_events, check_items, check_queries

__all__ = [
    "CleaningStep",
    "Dataset",
    "DatasetError",
    "DatasetInfo",
    "Report",
    "Times",
    "check_destination",
    "keyed",
    "load_dataset",
    "write_dataset",
]

# "time": every event has its time; "order": only its place within the user;
# "none": not even that (the order is the file's and means nothing).
Times = Literal["time", "order", "none"]
INFO = "dataset.json"
_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What dataset.json says about a dataset."""

    name: str
    source: str  # citation: who made the data and what they call it
    times: Times
    report: Report = field(default_factory=Report)
    notes: tuple[str, ...] = ()  # anything else a reader must know


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dataset:
    """A dataset in memory; frames as in models/data/schema.py."""

    path: Path
    items: pl.DataFrame
    events: pl.DataFrame
    queries: pl.DataFrame | None
    info: DatasetInfo


def load_dataset(path: Path) -> Dataset:
    """Read and check a dataset directory.

    Raises DatasetError naming the file, the column and what to do.
    """
    info = _read_info(path)
    items = _read_frame(path / "items.parquet")
    check_items(items, str(path / "items.parquet"))
    events = _read_frame(path / "events.parquet")
    check_events(events, items, str(path / "events.parquet"))
    queries = None
    if (path / "queries.parquet").exists():
        queries = _read_frame(path / "queries.parquet")
        check_queries(queries, items, str(path / "queries.parquet"))
    return Dataset(path, items, events, queries, info)


def write_dataset(
    path: Path,
    *,
    items: pl.DataFrame,
    events: pl.DataFrame,
    info: DatasetInfo,
    queries: pl.DataFrame | None = None,
) -> Dataset:
    """Check the frames, write them beside `path` and rename them into place.

    An older dataset at `path` is replaced; anything else there is left alone.
    Raises DatasetError; then nothing is changed.
    """
    check_destination(path)
    check_items(items)
    check_events(events, items)
    if queries is not None:
        check_queries(queries, items)
    made = Dataset(path, items, events, queries, info)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            _write(made, draft)
            _replace(draft, path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DatasetError(
            f"{path}: cannot be written ({error}); make room there, or choose another place"
        ) from None
    return made


def check_destination(path: Path) -> None:
    """Raise DatasetError if `path` holds anything but an older dataset."""
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not (path / INFO).is_file()):
        raise DatasetError(
            f"{path}: exists and is no dataset (it has no {INFO}); choose another directory"
        )


def keyed(items: pl.DataFrame) -> pl.DataFrame:
    """Put `item_key` before the other columns of items with a unique `item_id`.

    Raises DatasetError where two ids share a key (about one chance in four
    billion ids; rename one of them).
    """
    keys = pl.Series("item_key", item_keys(items["item_id"].to_list()), dtype=pl.Int64)
    clash = items.filter(keys.is_duplicated())
    if clash.height:
        raise DatasetError(
            f"items: two item ids share one key (or are equal), among them "
            f"{', '.join(map(repr, clash['item_id'][:2]))}; rename one of them in the source"
        )
    return items.select(keys, pl.exclude("item_key"))


def _write(made: Dataset, draft: Path) -> None:
    made.items.write_parquet(draft / "items.parquet")
    made.events.write_parquet(draft / "events.parquet")
    if made.queries is not None:
        made.queries.write_parquet(draft / "queries.parquet")
    info = _info_json(made.info, made.items, made.events)
    text = json.dumps(info, ensure_ascii=False, indent=2)
    (draft / INFO).write_text(text + "\n", encoding="utf-8")
    draft.chmod(0o755)  # mkdtemp's 0700 would shut other users out


def _replace(draft: Path, path: Path) -> None:
    """Rename `draft` to `path`; what was there is removed only once the new one stands."""
    if not path.exists():
        draft.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
    path.rename(old / "old")
    draft.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _info_json(info: DatasetInfo, items: pl.DataFrame, events: pl.DataFrame) -> dict[str, Any]:
    return {
        "schema_version": _SCHEMA_VERSION,
        "name": info.name,
        "source": info.source,
        "times": info.times,
        "items": items.height,
        "events": events.height,
        "users": events["user_id"].n_unique(),
        "notes": list(info.notes),
        "report": [asdict(step) for step in info.report.steps],
    }


def _read_info(path: Path) -> DatasetInfo:
    file = path / INFO
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        if raw["schema_version"] != _SCHEMA_VERSION:
            raise DatasetError(
                f"{file}: schema version {raw['schema_version']}, this release reads "
                f"{_SCHEMA_VERSION}; import the data anew"
            )
        if raw["times"] not in {"time", "order", "none"}:
            raise DatasetError(f"{file}: times is {raw['times']!r}, must be time, order or none")
        steps = cast(Sequence[dict[str, Any]], raw["report"])
        report = Report(tuple(CleaningStep(**step) for step in steps))
        return DatasetInfo(raw["name"], raw["source"], raw["times"], report, tuple(raw["notes"]))
    except FileNotFoundError:
        raise DatasetError(
            f"{file}: not found; make a dataset with `plait import FORMAT SOURCE {path}`"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{file}: cannot be read ({error}); import the data anew") from None


def _read_frame(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file)
    except FileNotFoundError:
        raise DatasetError(f"{file}: not found; import the data anew") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DatasetError(f"{file}: cannot be read ({error}); import the data anew") from None
