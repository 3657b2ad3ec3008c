"""Reading one table of a shop: columns to fields, bad values named or counted.

A `TableReader` reads the events, items and queries of one source; it remembers
the steps for the report and the columns it saw, so that a mapping that fits
nothing is an error rather than silently without effect.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from artifacts.keys import composed
from models.data.errors import SourceError
from models.data.importers import columns as c
from models.data.importers.base import Options
from models.data.importers.delimited import LINE, read_delimited
from models.data.report import CleaningStep
from models.data.schema import EVENT_TYPES, SPLITS

Reader = Callable[[pl.Series], c.Values]
_LINE_WORD = {"csv": "line", "parquet": "row"}
EVENT_FIELDS: Mapping[str, Reader] = {
    "user_id": c.text,
    "item_id": c.text,
    "time": c.moment,
    "order": c.whole_number,
    "quantity": c.number,
    "price": c.number,
    "market": c.text,
    "query": c.text,
}
ITEM_FIELDS: Mapping[str, Reader] = {
    "item_id": c.text,
    "title": c.text,
    "text": c.text,
    "domain": c.text,
    "category": c.text,
    "brand": c.text,
    "provider": c.text,
    "price": c.number,
    "attributes": c.json_object,
    "available": c.yes_no,
    "image_vector": c.vector,
}
QUERY_FIELDS: Mapping[str, Reader] = {"query": c.text, "item_id": c.text, "rating": c.whole_number}
_FIELDS: Mapping[str, frozenset[str]] = {
    "events": frozenset({*EVENT_FIELDS, "type", "split"}),
    "items": frozenset(ITEM_FIELDS),
    "queries": frozenset(QUERY_FIELDS),
}
# Fields whose every row must have a value where the column exists.
_NEEDED = {"user_id", "item_id", "type", "time", "order", "rating"}
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "events": ("user_id", "item_id"),
    "items": ("item_id",),
    "queries": tuple(QUERY_FIELDS),
}
_UNIT = {"events": "events", "items": "items", "queries": "judgements"}


class TableReader:
    """Reads the tables of one source; collects the steps and which mappings were used."""

    def __init__(self, kind: str, options: Options, files: Mapping[str, Path]) -> None:
        self.kind = kind
        mapping = {key: composed(column) for key, column in options.mapping.items()}
        self.options = replace(options, mapping=mapping)
        self.files = files
        self.steps: list[CleaningStep] = []
        self._assumed: list[tuple[str, str]] = []  # column, what was assumed of it
        self._rows: dict[str, tuple[pl.DataFrame, pl.DataFrame]] = {}

    def load(self) -> None:
        """Load every file as it is and check the mapping against all their columns.

        Raises SourceError for a file that is no table, and for a mapping that
        names a field or column nobody has.
        """
        self._rows = {table: self._load(file) for table, file in self.files.items()}
        self._check_mapping()

    def read(self, table: str, fields: Mapping[str, Reader]) -> pl.DataFrame:
        """Return the fields found in a loaded table, typed; further columns as "extra:NAME".

        Raises SourceError for the first bad row, or counts bad rows.
        """
        rows, ragged = self._rows.pop(table)
        names = [name for name in rows.columns if name != LINE]
        found = self._columns(table, names, fields, rows)
        lost = [
            c.Problem(line, "", f"{count} values under {len(names)} column names")
            for line, count in ragged.head(1).iter_rows()
        ]
        typed: dict[str, pl.Series] = {}
        bad = pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
        for field, column in found.items():
            typed[field], wrong, first = self._field(table, rows, field, column, fields[field])
            bad |= wrong
            lost += first
        self._count(table, rows.height + ragged.height, int(bad.sum()) + ragged.height, lost)
        extra = [name for name in names if name not in found.values()]
        frame = rows.select(LINE, *extra).rename({name: f"extra:{name}" for name in extra})
        return frame.with_columns(s.alias(f) for f, s in typed.items()).filter(~bad).drop(LINE)

    def _columns(
        self, table: str, names: list[str], fields: Mapping[str, Reader], rows: pl.DataFrame
    ) -> dict[str, str]:
        """Return field -> column; a column without a single value is no column."""
        mapping = {k: v for k, v in self.options.mapping.items() if not k.startswith("type.")}
        file = self.files[table]
        found = c.find_columns(names, tuple(fields), table, mapping, str(file))
        for field in _REQUIRED[table]:
            if field not in found:
                unnamed = [name for name in names if not any(map(str.isalpha, name))]
                data = "; if these are data, add a header line of names" if unnamed else ""
                raise SourceError(
                    f"{file}: no column for {field} (there are: {', '.join(names)}); "
                    f"name it with --map {table}.{field}=COLUMN{data}"
                )
        return {
            field: column
            for field, column in found.items()
            if field in _REQUIRED[table]
            or not rows.height
            or rows[column].null_count() < rows.height
        }

    def _count(self, table: str, total: int, dropped: int, lost: list[c.Problem]) -> None:
        """Note what was read and what was not; raises SourceError unless bad rows are skipped."""
        unit, file = _UNIT[table], self.files[table]
        self.steps.append(CleaningStep(f"{table} read", total, 0, file.name, unit))
        for column, assumed in self._assumed:
            self.steps.append(CleaningStep(f"column {column}", total, 0, assumed, unit))
        self._assumed.clear()
        if not lost:
            return
        message = self._message(file, min(lost, key=lambda problem: problem.line))
        if not self.options.skip_bad_rows:
            raise SourceError(message)
        step = CleaningStep("bad rows", total - dropped, dropped, f"such as {message}", unit)
        self.steps.append(step)

    def _check_mapping(self) -> None:
        known = {table: set(rows.columns) - {LINE} for table, (rows, _) in self._rows.items()}
        for key, column in self.options.mapping.items():
            table, field = key.split(".", 1) if "." in key else ("", key)
            if table == "type":
                if column not in EVENT_TYPES:
                    raise SourceError(
                        f"mapping {key}: {column!r} is no event type; there are: "
                        f"{', '.join(EVENT_TYPES)}"
                    )
                continue
            owners = [t for t, names in _FIELDS.items() if field in names and table in {"", t}]
            if not owners:
                every = sorted(set().union(*_FIELDS.values()))
                raise SourceError(f"mapping {key}: no such field; there are: {', '.join(every)}")
            if not any(column in known.get(owner, set()) for owner in owners):
                seen = sorted(set().union(*known.values()))
                raise SourceError(
                    f"mapping {key}: no column {column!r} in the source (there are: "
                    f"{', '.join(seen)})"
                )

    def _load(self, file: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
        if self.kind == "csv":
            table = read_delimited(file)
            return table.rows, table.ragged
        try:
            rows = pl.read_parquet(file).rename(composed)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise SourceError(f"{file}: not a Parquet file that can be read ({error})") from None
        # As in CSV: blanks around a word are none of it, and shoppers without a name are not
        # one shopper.
        words = (pl.String, pl.Categorical, pl.Enum)
        texts = [name for name, kind in rows.schema.items() if isinstance(kind, words)]
        rows = rows.with_columns(pl.col(texts).cast(pl.String)).with_columns(
            pl.when(bare != "").then(bare) for bare in (pl.col(t).str.strip_chars() for t in texts)
        )
        return rows.with_row_index(LINE, offset=1), pl.DataFrame(
            schema={LINE: pl.Int64, "count": pl.Int64}
        )

    def _field(
        self, table: str, rows: pl.DataFrame, field: str, column: str, reader: Reader
    ) -> tuple[pl.Series, pl.Series, list[c.Problem]]:
        given = rows[column]
        found = reader(given)
        if not found.fits:
            raise SourceError(
                f"{self.files[table]}, column {column}: holds {given.dtype}, not "
                f"{found.expected}; convert it, or name another column with "
                f"--map {table}.{field}=COLUMN"
            )
        first = c.problems(found, rows[LINE], column, given)
        if found.assumed:
            self._assumed.append((column, found.assumed))
        wrong = found.wrong
        if field in _NEEDED and given.null_count():
            empty = given.is_null()
            first.append(c.Problem(int(rows[LINE][empty.arg_true()[0]]), column, "is empty"))
            wrong |= empty
        return found.values, wrong, first

    def _message(self, file: Path, problem: c.Problem) -> str:
        place = f"{file} {_LINE_WORD[self.kind]} {problem.line}"
        if not problem.column:
            return f"{place}: {problem.what}"
        return f"{place}, column {problem.column}: {problem.what}"


def event_fields(options: Options) -> dict[str, Reader]:
    """Return the readers of the events' fields; types and splits in their usual words."""
    types = {
        value: name for name, values in c.EVENT_TYPE_WORDS.items() for value in (name, *values)
    }
    own = {k.removeprefix("type."): v for k, v in options.mapping.items() if k.startswith("type.")}
    splits = {value: name for name, values in c.SPLIT_WORDS.items() for value in (name, *values)}
    expected = f"an event type ({', '.join(EVENT_TYPES)}); translate it with type.VALUE=TYPE"
    return dict(EVENT_FIELDS) | {
        "type": partial(c.word, words=types | own, expected=expected),
        "split": partial(c.word, words=splits, expected=f"one of {', '.join(SPLITS)}"),
    }
