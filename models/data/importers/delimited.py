"""Delimited text (CSV and its kin) as a table of strings that still knows its lines.

Everything stays text here, so that a value that does not fit can be named with
the line it stands on. Files without quotes are split vectorised; quoted ones
need a real CSV reader, because a quoted value may contain the separator or a
line break.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from artifacts.keys import composed
from models.data.errors import SourceError
from models.data.importers.lines import read_text

_SEPARATORS = ",\t;|"
# A first line that says which separator follows.
_SAID = re.compile(r'\s*"?sep=([^\w\s"]|\t)"?[ \t]*\n', re.IGNORECASE)
LINE = "__line__"  # the column that holds the 1-based line
# Quoted rows that are Python's objects at once.
_BATCH = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Delimited:
    """A table of strings (empty is null) with the column LINE, and the lines that do not fit."""

    file: Path
    rows: pl.DataFrame
    ragged: pl.DataFrame  # LINE, count: lines with another number of values
    columns: tuple[str, ...]

    def checked(self) -> pl.DataFrame:
        """Return the rows; raises SourceError naming the first line that does not fit."""
        if self.ragged.height:
            line, count = self.ragged.row(0)
            raise SourceError(
                f"{self.file} line {line}: {count} values under {len(self.columns)} column names"
            )
        return self.rows


@dataclass(frozen=True, slots=True)
class _Header:
    """The first line that is neither blank nor says the separator."""

    separator: str
    names: tuple[str, ...]
    line: int  # 1-based


def header_of(file: Path) -> list[str]:
    """Return the column names of a delimited file, empty if the file is.

    Raises SourceError if it is no UTF-8 text.
    """
    return list(_header(read_text(file)).names)


def read_delimited(file: Path) -> Delimited:
    """Read a delimited file; the separator is the one its header uses most.

    Or the one that a line above the header says, as Excel writes and reads it: sep=;
    Raises SourceError if it is empty, no UTF-8 text, or has no usable header.
    """
    text = read_text(file)
    header = _header(text)
    _check_header(file, header)
    read = _quoted if '"' in text else _plain
    table = read(file, text, header.separator).filter(pl.col(LINE) > header.line)
    fits = pl.col("values").list.len() == len(header.names)
    rows = table.filter(fits).select(
        LINE, *(_value(at).alias(name) for at, name in enumerate(header.names))
    )
    ragged = table.filter(~fits).select(
        LINE, pl.col("values").list.len().cast(pl.Int64).alias("count")
    )
    return Delimited(file, rows, ragged, header.names)


def _value(at: int) -> pl.Expr:
    value = pl.col("values").list.get(at).str.strip_chars()
    return pl.when(value != "").then(value)


def _header(text: str) -> _Header:
    said = _SAID.match(text)
    start = said.end() if said else 0
    lines = text[start:].split("\n", 100)
    blank = next((n for n, line in enumerate(lines) if line.strip()), 0)
    separator = said[1] if said else max(_SEPARATORS, key=lines[blank].count)
    names = next(csv.reader([lines[blank]], delimiter=separator), [])
    line = text.count("\n", 0, start) + blank + 1
    return _Header(separator, tuple(composed(name.strip()) for name in names), line)


def _check_header(file: Path, header: _Header) -> None:
    columns, where = header.names, f"{file} line {header.line}"
    if not columns:
        raise SourceError(f"{file}: is empty; it needs a header line with column names")
    if not any(any(c.isalpha() for c in name) for name in columns):
        raise SourceError(
            f"{where}: {','.join(columns)!r} looks like data; add a header line of names"
        )
    repeated = {name for name in columns if columns.count(name) > 1}
    if repeated or "" in columns:
        odd = sorted(repeated)[0] if repeated else ""
        why = "is named twice" if repeated else "has no name"
        raise SourceError(f"{where}: column {odd!r} {why}; rename it")


def _plain(file: Path, text: str, separator: str) -> pl.DataFrame:  # noqa: ARG001
    lines = pl.Series("text", text.split("\n"), dtype=pl.String)
    table = pl.DataFrame(
        {LINE: pl.int_range(1, len(lines) + 1, dtype=pl.Int64, eager=True), "text": lines}
    )
    table = table.filter(pl.col("text").str.strip_chars() != "")
    return table.select(LINE, pl.col("text").str.split(separator).alias("values"))


def _quoted(file: Path, text: str, separator: str) -> pl.DataFrame:
    schema = {LINE: pl.Int64(), "values": pl.List(pl.String)}
    parts = [
        pl.DataFrame(rows, schema=schema, orient="row") for rows in _batches(file, text, separator)
    ]
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def _batches(file: Path, text: str, separator: str) -> Iterator[list[tuple[int, list[str]]]]:
    """Yield (line, values) of the rows that are not blank, some at a time.

    As Python's objects they take some fifty times the memory of the file.
    """
    reader = csv.reader(_lines(text), delimiter=separator, strict=True)
    rows: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for row in reader:
            if any(value.strip() for value in row):
                rows.append((start, row))
            if len(rows) == _BATCH:
                yield rows
                rows = []
            start = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(f"{file} line {start}: not valid CSV ({error})") from None
    yield rows


def _lines(text: str) -> Iterator[str]:
    """Yield the lines with their ends, one at a time."""
    start = 0
    while start < len(text):
        stop = text.find("\n", start) + 1 or len(text)
        yield text[start:stop]
        start = stop
