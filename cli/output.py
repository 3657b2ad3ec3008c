"""Two readers, one place: tables for people, JSON for machines.

Tables are made to read well at 80 to 100 columns, on a terminal and in a pipe;
JSON is the proto mapping with the field names of the .proto files.
"""

import codecs
import json
import os
import sys
import unicodedata

from google.protobuf import json_format
from google.protobuf.message import Message
from rich import box
from rich.console import Console, RenderableType
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

_MIN_WIDTH, _MAX_WIDTH = 80, 110
# What stands in these runs from right to left: Hebrew, Arabic and their like.
_LEFTWARD = ("R", "AL")
_RIGHTWARD_MARK = "\u200e"


def console(*, stderr: bool = False) -> Console:
    """Return a console between 80 and 110 columns wide; colours only on a terminal.

    What is printed stands as it is: a product may be called "[red]". Style is for Text.
    """
    stream = sys.stderr if stderr else sys.stdout
    width = _MAX_WIDTH
    if stream.isatty():
        width = min(max(os.get_terminal_size(stream.fileno()).columns, _MIN_WIDTH), _MAX_WIDTH)
    elif os.environ.get("COLUMNS", "").isdecimal():
        width = max(int(os.environ["COLUMNS"]), _MIN_WIDTH)
    else:
        width = 100
    return Console(
        file=stream, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False
    )


def heading(text: str) -> Text:
    """Return what stands in a rule above a part of the output."""
    return Text(text, style="bold")


def counted(count: int, what: str) -> str:
    """Return a count and its word, given for one: "1 query", "2 queries"."""
    if count == 1:
        return f"{count:,} {what}"
    # "day" and its like take an s.
    several = f"{what[:-1]}ies" if what.endswith("ry") else f"{what}s"
    return f"{count:,} {several}"


def table(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; a column named ">Name" is set to the right."""
    made = _Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns:
        right = name.startswith(">")
        made.add_column(
            name.removeprefix(">"),
            justify="right" if right else "left",
            no_wrap=right,
            overflow="fold",
        )
    return made


class _Table(Table):
    """A table whose columns stay where they are on a terminal that sets Arabic as it is read.

    Such a terminal turns all between two texts that run from right to left: one column's,
    prices and scores would change places with the next one's.
    """

    def add_row(
        self,
        *cells: RenderableType | None,
        style: StyleType | None = None,
        end_section: bool = False,
    ) -> None:
        """Add a row, as rich does; what is not for a terminal stays as it is."""
        kept = map(_closed, cells) if sys.stdout.isatty() else cells
        super().add_row(*kept, style=style, end_section=end_section)


def _closed(cell: RenderableType | None) -> RenderableType | None:
    """Return a cell that is followed by columns to its right, whichever way its text runs."""
    if not isinstance(cell, str | Text):
        return cell
    if not any(unicodedata.bidirectional(c) in _LEFTWARD for c in str(cell)):
        return cell
    return Text.assemble(cell, _RIGHTWARD_MARK)


def as_json(message: Message, *, ensure_ascii: bool = False) -> str:
    """Return a message as JSON, fields at their defaults included."""
    return json_format.MessageToJson(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        ensure_ascii=ensure_ascii,
    )


def print_json(value: Message | object) -> None:
    """Write a message, or anything json can write, to standard output."""
    if isinstance(value, Message):
        text = as_json(value, ensure_ascii=not _writes_unicode())
    else:
        text = json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")


def _writes_unicode() -> bool:
    """Whether standard output takes every character, which a locale such as Latin-1 does not."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name.startswith("utf")


def money(price: float) -> str:
    """Return a price for a table."""
    return f"{price:.2f}"


def milliseconds(seconds: float | None) -> str:
    """Return a duration in milliseconds for a table, "-" where there is none."""
    if seconds is None:
        return "-"
    value = 1000 * seconds
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:.{digits}f}"
