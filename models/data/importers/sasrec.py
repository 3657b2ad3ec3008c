"""Sequences as SASRec and S3-Rec publish them: users with their items, oldest first.

A line is "user item item ...", or "user item" with a line for each event: both
read the same, since a user's lines simply continue each other. There are no
times, only the order. An optional NAME_item2attributes.json (item -> attribute
ids) beside the file describes the items.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from models.data.dataset import DatasetInfo
from models.data.errors import SourceError
from models.data.importers.base import (
    Imported,
    Options,
    attributes_json,
    complete_events,
    complete_items,
    numbered,
    report_of,
    require_events,
    with_keys,
)
from models.data.importers.lines import read_text, require_whole, user_items
from models.data.report import CleaningStep

ATTRIBUTES = "_item2attributes.json"


def read(source: Path, options: Options) -> Imported:
    """Read NAME.txt (or the one .txt in a directory) and its attributes.

    Raises SourceError naming the file and line.
    """
    file = _sequence_file(source)
    pairs, empty = user_items(file)
    require_events(pairs, file)
    name = options.name or file.stem
    items = pl.DataFrame({"item_id": pairs["item_id"].unique(maintain_order=True)})
    items, described = _describe(items.with_columns(domain=pl.lit(name)), file)
    items = complete_items(items)
    events = complete_events(numbered(with_keys(pairs, items)))
    repeats = pairs.height - pairs.n_unique()
    info = DatasetInfo(
        name=name,
        source=f"{file.name}, sequences in SASRec's text format",
        times="order",
        report=report_of(
            CleaningStep("events read", pairs.height, 0, "in the order of the file"),
            CleaningStep(
                "users without items",
                pairs["user_id"].n_unique(),
                empty,
                "nothing is known of them",
                "users",
            ),
            CleaningStep(
                "repeated items",
                pairs.height,
                0,
                f"{repeats:,} events repeat an item of their user; kept, they differ in order",
            ),
            *described,
        ),
        notes=("domain is the name of the set",),
    )
    return Imported(items, events, info)


def _sequence_file(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise SourceError(f"{source}: not found; give a NAME.txt or the directory that holds it")
    found = sorted(source.glob("*.txt"))
    if len(found) != 1:
        listed = ", ".join(f.name for f in found) or "none"
        raise SourceError(
            f"{source}: must hold one .txt file, found: {listed}; name the file itself"
        )
    return found[0]


def _describe(items: pl.DataFrame, file: Path) -> tuple[pl.DataFrame, list[CleaningStep]]:
    """Add `text` and `attributes` where an attribute file lies beside the sequences."""
    path = file.with_name(file.stem + ATTRIBUTES)
    if not path.exists():
        others = sorted(file.parent.glob("*" + ATTRIBUTES))
        if len(others) != 1 or len(list(file.parent.glob("*.txt"))) != 1:
            return items, []
        path = others[0]
    known = _attributes(path)
    ids = items["item_id"].to_list()
    names = [known.get(item, []) for item in ids]
    bare = sum(not n for n in names)
    described = items.with_columns(
        text=pl.Series([", ".join(n) for n in names], dtype=pl.String),
        attributes=pl.Series([attributes_json(dict.fromkeys(n, "yes")) for n in names]),
    )
    absent = len(known.keys() - set(ids))
    return described, [
        CleaningStep(
            "item attributes", len(ids) - bare, absent, "described, but in no sequence", "items"
        ),
        CleaningStep("items without attributes", len(ids), 0, f"{bare:,} items, kept", "items"),
    ]


def _attributes(path: Path) -> Mapping[str, list[str]]:
    """Return item -> attribute names; an id becomes "attribute 12", a word stays."""
    try:
        raw = json.loads(read_text(path))
    except ValueError as error:
        raise SourceError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(raw, dict):
        raise SourceError(f"{path}: must be a JSON object of item -> attributes")
    named = {
        str(item): [_attribute_name(v) for v in _as_list(value) if _says(v)]
        for item, value in raw.items()
    }
    require_whole(named, str(path))
    return named


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _says(value: Any) -> bool:
    """Whether a value names an attribute: null, NaN and "" are what an item lacks."""
    return value is not None and value == value and str(value).strip() != ""  # noqa: PLR0124


def _attribute_name(value: Any) -> str:
    text = str(value)
    return f"attribute {text}" if text.isdecimal() else text
