"""csv: lines, quotes and letters of a file, and what is no table."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from models.data.importers import Options
from models.data.importers.delimited import LINE, read_delimited
from tests.unit.data.builders import write
from tests.unit.data.tabular import imported, refused


def test_lines_of_another_width_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", "user,item\na,1\na,2,3\nb\n")
    refused(file, r"line 3: 3 values under 2 column names")
    made = imported(file, options=Options(skip_bad_rows=True))
    assert made.events.height == 1


def test_quoted_line_breaks_do_not_shift_the_line_numbers(tmp_path: Path) -> None:
    text = 'user,item,query,price\na,1,"two\nlines",1\na,2,"a ""b"", c",x\n'
    refused(write(tmp_path / "events.csv", text), "line 4, column price: 'x'")
    good = write(tmp_path / "good.csv", text.replace(",x", ",2"))
    assert imported(good).events["query"].to_list() == ["two\nlines", 'a "b", c']


def quoted(rows: int, last: str = "") -> str:
    return "user,item,query,price\n" + '"a","1","two\nlines",1\n' * rows + last


def test_quoted_rows_are_read_some_at_a_time_and_keep_their_lines(tmp_path: Path) -> None:
    text = quoted(45_000, 'a,2,"",x\n')
    refused(write(tmp_path / "events.csv", text), "line 90002, column price: 'x'")
    read = read_delimited(write(tmp_path / "good.csv", quoted(45_000))).rows
    assert read.height == 45_000
    assert read[LINE].to_list() == list(range(2, 90_002, 2))
    assert read["query"].unique().to_list() == ["two\nlines"]


def test_memory_for_quoted_rows_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for rows in (40_000, 80_000):
        file = write(tmp_path / "events.csv", quoted(rows))
        tracemalloc.start()
        read_delimited(file)
        peaks.append(tracemalloc.get_traced_memory()[1] - file.stat().st_size)
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_an_unclosed_quote_is_named(tmp_path: Path) -> None:
    refused(write(tmp_path / "events.csv", 'user,item\na,"1\n'), "line 2: not valid CSV")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; it needs a header line"),
        ("1,2\n3,4\n", "line 1: '1,2' looks like data; add a header line"),
        ("user,user\na,1\n", "line 1: column 'user' is named twice"),
        ("user,\na,1\n", "line 1: column '' has no name"),
        ("sep=;\nuser;user\na;1\n", "line 2: column 'user' is named twice"),
        ('"sep=;"\n1;2\n3;4\n', "line 2: '1,2' looks like data"),
        ("\n\nuser,\na,1\n", "line 3: column '' has no name"),
        (
            "user,price\na,1\n",
            r"no column for item_id \(there are: user, price\).*--map events.item_id=",
        ),
        (
            "A39H,0205616461,5.0,1369699200\nA3JM,0558925278,3.0,1355443200\n",
            r"no column for user_id .*; if these are data, add a header line of names",
        ),
        ("user,item\n", "no events in it"),
    ],
)
def test_a_file_that_is_no_table_of_events_says_why(
    tmp_path: Path, text: str, message: str
) -> None:
    refused(write(tmp_path / "events.csv", text), message)


def test_bad_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes("user,item\na,1\nb,caf\xe9\n".encode("latin-1"))
    refused(file, r"events\.csv line 3: not valid UTF-8 \(byte 0xe9\); convert")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"user,item\na,1\n"), "is a compressed file or a spreadsheet; unpack it"),
        (b"PK\x03\x04 and so on", "is a compressed file or a spreadsheet; unpack it"),
        ("user,item\na,1\n".encode("utf-16"), "is UTF-16; convert the file to UTF-8"),
        ("user,item\na,1\n".encode("utf-16-le"), "line 1: holds zero bytes"),
        (b"user,item\na,1\nb\x00,2\n", "line 3: holds zero bytes"),
    ],
)
def test_what_is_no_plain_text_is_called_what_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes(content)
    refused(file, rf"events\.csv:? {message}")


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_line_that_says_the_separator_is_none_of_the_table(tmp_path: Path, first: str) -> None:
    text = f"{first}\nuser;item;query\na;1;big, red, round, cheap\n"
    made = imported(write(tmp_path / "events.csv", text))
    assert made.events["query"].to_list() == ["big, red, round, cheap"]
    refused(write(tmp_path / "bad.csv", text + "b\n"), "line 4: 1 values under 3 column names")
