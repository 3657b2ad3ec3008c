"""Reading files of tokens between blanks: the common ground of sasrec, lightgcn and pairs.

Such files differ only in what the tokens mean. Blank lines, tabs, several
blanks and CRLF are all the same here; what cannot be read is named with its
line.
"""

import json
from pathlib import Path

import polars as pl

from models.data.errors import SourceError

# How files begin that hold no text as they are: gzip, zip (Excel's too), bzip2, xz, zstd.
_PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(file: Path) -> str:
    """Return the text of a UTF-8 file with plain newlines and no byte order mark.

    Raises SourceError naming the file and, for bad UTF-8 and zero bytes, the line.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise SourceError(f"{file}: cannot be read ({error.strerror})") from None
    if raw.startswith(_PACKED):
        raise SourceError(
            f"{file}: is a compressed file or a spreadsheet; unpack it, or save it as CSV in UTF-8"
        )
    if raw.startswith(_UTF_16):
        raise SourceError(f"{file}: is UTF-16; convert the file to UTF-8")
    if (at := raw.find(b"\x00")) >= 0:
        line = raw.count(b"\n", 0, at) + 1
        raise SourceError(f"{file} line {line}: holds zero bytes; is it really UTF-8 text?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"{file} line {line}: not valid UTF-8 (byte 0x{raw[error.start]:02x}); "
            "convert the file to UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def require_whole(value: object, where: str) -> None:
    """Raise SourceError where a text in what JSON said holds half of a letter: no UTF-8 can."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise SourceError(
            f"{where}: holds half of a letter, as where a text was cut; correct it"
        ) from None


def token_lines(file: Path) -> pl.DataFrame:
    """Return the lines that are not blank: line (1-based, int64) and tokens (list of str)."""
    lines = pl.Series("text", read_text(file).split("\n"), dtype=pl.String)
    table = pl.DataFrame({"tokens": lines.str.extract_all(r"\S+")})
    table = table.with_columns(line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    return table.filter(pl.col("tokens").list.len() > 0).select("line", "tokens")


def user_items(file: Path) -> tuple[pl.DataFrame, int]:
    """Read "user item item ..." lines; a user on several lines goes on with more items.

    Returns user_id and item_id (str) in the file's order, and how many users
    have no item at all. Raises SourceError if the lines look like columns instead.
    """
    table = token_lines(file).with_columns(
        user_id=pl.col("tokens").list.first(), items=pl.col("tokens").list.slice(1)
    )
    _refuse_columns(table, file)
    with_items = table.filter(pl.col("items").list.len() > 0)
    empty = table["user_id"].n_unique() - with_items["user_id"].n_unique()
    pairs = with_items.select("user_id", pl.col("items").alias("item_id"))
    return pairs.explode("item_id"), empty


def _refuse_columns(table: pl.DataFrame, file: Path) -> None:
    """Lines of one width with users coming back are columns, not users with their items."""
    widths = table["tokens"].list.len().unique().to_list()
    repeated = table["user_id"].n_unique() < table.height
    if len(widths) == 1 and widths[0] > 2 and repeated:
        raise SourceError(
            f"{file} line {table['line'][0]}: every line has {widths[0]} values and users come "
            "back on other lines, so these are columns, not a user followed by items; "
            "use the format `pairs` (user item 1) or `csv`"
        )
