"""Reading rows out of a damaged SQLite file, page by page, without its tree.

SQLite finds rows from the root down, so one bad page high up hides all below it.
But every leaf page describes itself: read alone, each gives its rows back whatever
happened to the others. Pages that are not leaves, and cells that make no sense,
are passed over. The layout is public and stable: https://sqlite.org/fileformat2.html
"""

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeAlias

PAGE = 4096  # what schema.py's files have, being SQLite's default
TABLE_LEAF, INDEX_LEAF, INDEX_INNER = 0x0D, 0x0A, 0x02
Value: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Value, ...]
# Largest value of a column; beyond it a length is taken for damage.
_MOST_BYTES = 1 << 20
_WIDTHS = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)
_FRAME, _WAL_HEADER = 24, 32


class Pages:
    """The pages of a file as of its last commit: those in the log count before its own."""

    def __init__(self, file: BinaryIO, log: BinaryIO | None) -> None:
        self._file = file
        self._log = log
        self._newer = {} if log is None else committed(log)
        file.seek(0, 2)
        self.count = max(file.tell() // PAGE, max(self._newer, default=0))

    def read(self, number: int) -> bytes:
        """Return page `number`, counted from 1; empty where there is none."""
        if not 1 <= number <= self.count:
            return b""
        source, at = self._file, (number - 1) * PAGE
        if self._log is not None and number in self._newer:
            source, at = self._log, self._newer[number]
        source.seek(at)
        return source.read(PAGE)


def committed(log: BinaryIO) -> dict[int, int]:
    """Return page number -> offset of its newest committed content in a write-ahead log."""
    header = log.read(_WAL_HEADER)
    if len(header) < _WAL_HEADER or struct.unpack(">I", header[8:12])[0] != PAGE:
        return {}
    found: dict[int, int] = {}
    pending: dict[int, int] = {}
    at = _WAL_HEADER
    while len(frame := log.read(_FRAME)) == _FRAME and frame[8:16] == header[16:24]:
        number, commit = struct.unpack(">II", frame[:8])
        pending[number] = at + _FRAME
        if commit:
            found.update(pending)
            pending.clear()
        at += _FRAME + PAGE
        log.seek(at)
    return found


def rows(
    pages: Pages,
    kinds: tuple[int, ...],
    wanted: Callable[[int], bool] | None = None,
    *,
    columns: int = 0,
) -> Iterator[tuple[int, Row]]:
    """Yield (number, values) of every readable cell on pages of these kinds.

    The number is a table's rowid, which its values lack (None stands first), or the
    last value of an index's cell, where SQLite puts the rowid. A table without rowids is
    laid out as an index too: 0 where its last value is no whole number. Cells whose number
    is not `wanted`, and most that have fewer than `columns` values, are passed over before
    the work of decoding them.
    """
    for number in range(1, pages.count + 1):
        page = pages.read(number)
        start = 100 if number == 1 else 0
        if len(page) == PAGE and page[start] in kinds:
            yield from _cells(pages, page, start, wanted, columns)


def _cells(
    pages: Pages, page: bytes, start: int, wanted: Callable[[int], bool] | None, columns: int
) -> Iterator[tuple[int, Row]]:
    kind = page[start]
    (count,) = struct.unpack(">H", page[start + 3 : start + 5])
    first = start + (12 if kind == INDEX_INNER else 8)
    if first + 2 * count > PAGE:
        return
    for (at,) in struct.iter_unpack(">H", page[first : first + 2 * count]):
        try:
            number, payload = _cell(pages, page, at + (first - start - 8), kind == TABLE_LEAF)
            # The header: its own length, then a byte or more for each value.
            if payload[0] > columns and (wanted is None or wanted(number)):
                yield number, _values(payload)
        except (ValueError, IndexError, struct.error):
            continue


def _cell(pages: Pages, page: bytes, at: int, table: bool) -> tuple[int, bytes]:
    """Return a cell's number and its record."""
    length, at = _varint(page, at)
    rowid = 0
    if table:
        rowid, at = _varint(page, at)
        rowid -= (rowid >> 63) << 64
    if not 0 < length <= _MOST_BYTES:
        raise ValueError("no such length")
    kept = _kept(length, table)
    payload = page[at : at + kept]
    if kept < length:
        payload += _rest(pages, page[at + kept : at + kept + 4], length - kept)
    if len(payload) != length:
        raise ValueError("cut off")
    return rowid if table else _last(payload), payload


def _last(payload: bytes) -> int:
    """Return the last value of a record, 0 unless it is a whole number.

    Most cells are not wanted for theirs.
    """
    body, at = _varint(payload, 0)
    if not at < body <= len(payload):
        raise ValueError("empty")
    kind = payload[body - 1]  # that of a whole number is one byte
    return _whole(kind, payload[len(payload) - _width(kind) :]) if _is_whole(kind) else 0


def _kept(length: int, table: bool) -> int:
    """How much of a payload lies on its own page; the rest is on overflow pages."""
    most = PAGE - 35 if table else (PAGE - 12) * 64 // 255 - 23
    if length <= most:
        return length
    least = (PAGE - 12) * 32 // 255 - 23
    kept = least + (length - least) % (PAGE - 4)
    return kept if kept <= most else least


def _rest(pages: Pages, pointer: bytes, length: int) -> bytes:
    parts = []
    while length > 0:
        page = pages.read(struct.unpack(">I", pointer)[0])
        if not page:
            raise ValueError("an overflow page is missing")
        parts.append(page[4 : 4 + min(length, PAGE - 4)])
        pointer, length = page[:4], length - (PAGE - 4)
    return b"".join(parts)


def _values(payload: bytes) -> Row:
    """Decode one record; raises ValueError where header and body do not agree."""
    end, at = _varint(payload, 0)
    types = []
    while at < end:
        kind, at = _varint(payload, at)
        types.append(kind)
    if not types:
        raise ValueError("empty")
    found: list[Value] = []
    for kind in types:
        at, end = end, end + _width(kind)
        found.append(_value(kind, payload[at:end]))
    if end != len(payload):
        raise ValueError("a record of another length than its header says")
    return tuple(found)


def _width(kind: int) -> int:
    return (kind - 12) // 2 if kind >= 12 else _WIDTHS[kind]


def _is_whole(kind: int) -> bool:
    return 1 <= kind <= 6 or kind in {8, 9}


def _whole(kind: int, raw: bytes) -> int:
    if kind in {8, 9}:
        return kind - 8
    if not _is_whole(kind):
        raise ValueError("not a whole number")
    return int.from_bytes(raw, "big", signed=True)


def _value(kind: int, raw: bytes) -> Value:
    if kind >= 12:
        return raw.decode() if kind % 2 else raw
    if kind == 0:
        return None
    if kind == 7:
        number: float = struct.unpack(">d", raw)[0]
        return number
    return _whole(kind, raw)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value = 0
    for place in range(8):
        byte = data[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    return value << 8 | data[at + 8], at + 9
