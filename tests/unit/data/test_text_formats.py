"""sasrec, lightgcn and pairs: lines of tokens, read tolerantly, refused clearly."""

import json
from pathlib import Path

import polars as pl
import pytest

from models.data.dataset import Dataset, load_dataset
from models.data.errors import SourceError
from models.data.importers import FORMATS, Options, import_dataset
from tests.support.locked import passable, shut
from tests.unit.data.builders import write


def imported(format_name: str, source: Path, tmp_path: Path) -> Dataset:
    """Import, and read back what was written."""
    destination = tmp_path / "out" / format_name
    import_dataset(format_name, source, destination)
    return load_dataset(destination)


def sequences(made: Dataset) -> dict[str, list[str]]:
    """user -> item ids in order."""
    joined = made.events.join(made.items.select("item_key", "item_id"), on="item_key")
    grouped = joined.sort("user_id", "order").group_by("user_id", maintain_order=True)
    return dict(grouped.agg("item_id").iter_rows())


def step(made: Dataset, name: str) -> tuple[int, int]:
    found = next(s for s in made.info.report.steps if s.name == name)
    return found.kept, found.dropped


def test_sasrec_reads_a_line_for_each_user(tmp_path: Path) -> None:
    file = write(tmp_path / "Shop.txt", "1 5 6 7\n2 6\n")
    made = imported("sasrec", file, tmp_path)
    assert sequences(made) == {"1": ["5", "6", "7"], "2": ["6"]}
    assert (made.info.name, made.info.times) == ("Shop", "order")
    assert made.items["domain"].unique().to_list() == ["Shop"]


def test_sasrec_reads_a_line_for_each_event_the_same(tmp_path: Path) -> None:
    by_user = write(tmp_path / "a" / "Shop.txt", "1 5 6 7\n2 6\n3 1 1\n")
    by_event = write(tmp_path / "b" / "Shop.txt", "1 5\n1 6\n2 6\n1 7\n3 1\n3 1\n")
    one, other = imported("sasrec", by_user, tmp_path), imported("sasrec", by_event, tmp_path)
    assert sequences(one) == sequences(other)


def test_blank_lines_tabs_crlf_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    file = write(tmp_path / "Shop.txt", "\ufeff0\t5   6\r\n\r\n   \n 7 0 \r\n")
    assert sequences(imported("sasrec", file, tmp_path)) == {"0": ["5", "6"], "7": ["0"]}


def test_users_without_items_and_repeats_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "Shop.txt", "1 5 5 6\n2\n3 5\n")
    made = imported("sasrec", file, tmp_path)
    assert step(made, "users without items") == (2, 1)
    assert sequences(made)["1"] == ["5", "5", "6"]
    assert "1 events repeat" in str(made.info.report)


def test_sasrec_attributes_become_text_and_json(tmp_path: Path) -> None:
    write(tmp_path / "Shop.txt", "1 5 6\n")
    write(tmp_path / "Shop_item2attributes.json", '{"5": [1, 12], "9": [3], "6": ["red"]}')
    made = imported("sasrec", tmp_path, tmp_path)
    assert made.items["text"].to_list() == ["attribute 1, attribute 12", "red"]
    assert json.loads(made.items["attributes"][0]) == {"attribute 1": "yes", "attribute 12": "yes"}
    assert step(made, "item attributes") == (2, 1)


def test_a_directory_with_two_sequence_files_asks_for_one(tmp_path: Path) -> None:
    write(tmp_path / "A.txt", "1 2\n")
    write(tmp_path / "B.txt", "1 2\n")
    with pytest.raises(SourceError, match=r"found: A\.txt, B\.txt; name the file itself"):
        import_dataset("sasrec", tmp_path, tmp_path / "out")


def test_columns_are_not_mistaken_for_sequences(tmp_path: Path) -> None:
    file = write(tmp_path / "Shop.txt", "1 5 1\n1 6 1\n2 5 1\n")
    with pytest.raises(SourceError, match=r"Shop\.txt line 1: every line has 3 values.*`pairs`"):
        import_dataset("sasrec", file, tmp_path / "out")


@pytest.mark.parametrize("text", ["", "\n \n", "1\n2\n"])
def test_a_file_without_events_is_refused(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "Shop.txt", text)
    with pytest.raises(SourceError, match="no events in it"):
        import_dataset("sasrec", file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "Shop.txt"
    file.write_bytes(b"1 2\n3 4\n5 \xff6\n")
    with pytest.raises(SourceError, match=r"Shop\.txt line 3: not valid UTF-8 \(byte 0xff\)"):
        import_dataset("sasrec", file, tmp_path / "out")


def test_zero_bytes_are_no_text(tmp_path: Path) -> None:
    file = write(tmp_path / "Shop.txt", "1 2\x003\n")
    with pytest.raises(SourceError, match="zero bytes"):
        import_dataset("sasrec", file, tmp_path / "out")


def test_what_an_item_lacks_is_no_attribute(tmp_path: Path) -> None:
    file = write(tmp_path / "Shop.txt", "1 5 6 7 8\n")
    lacking = '{"5": null, "6": ["", " ", NaN, null], "7": "", "8": [null, 1.5, 2]}'
    write(tmp_path / "Shop_item2attributes.json", lacking)
    made = imported("sasrec", file, tmp_path)
    assert made.items["attributes"].to_list() == [
        "{}", "{}", "{}", '{"1.5": "yes", "attribute 2": "yes"}'
    ]  # fmt: skip
    assert made.items["text"].to_list() == ["", "", "", "1.5, attribute 2"]


def test_half_a_letter_among_the_attributes_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "Shop.txt", "1 5 6\n")
    write(tmp_path / "Shop_item2attributes.json", r'{"5": ["a\ud83d"]}')
    with pytest.raises(SourceError, match="holds half of a letter"):
        import_dataset("sasrec", file, tmp_path / "out")


def test_attributes_that_are_no_json_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "Shop.txt", "1 5 6\n")
    write(tmp_path / "Shop_item2attributes.json", "{5: [1]}")
    with pytest.raises(SourceError, match=r"Shop_item2attributes\.json: not valid JSON"):
        import_dataset("sasrec", file, tmp_path / "out")


def test_lightgcn_keeps_the_given_split(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "0 5 6\n1\n2 9\n")
    write(tmp_path / "test.txt", "0 7\n3 5\n")
    made = imported("lightgcn", tmp_path, tmp_path)
    counted = made.events.group_by("split").len().sort("split").rows()
    assert counted == [("test", 2), ("train", 3)]
    assert made.info.times == "none"
    assert made.items.height == 4
    assert "1 lines are users without items" in made.info.notes


def test_lightgcn_takes_a_validation_file_where_there_is_one(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        write(tmp_path / f"{name}.txt", "0 5\n")
    made = imported("lightgcn", tmp_path, tmp_path)
    assert sorted(made.events["split"]) == ["test", "train", "valid"]
    assert any("2 pairs of user and item stand in more than one" in n for n in made.info.notes)


def test_lightgcn_counts_duplicates_within_a_split(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "0 5 5 6\n0 6\n")
    write(tmp_path / "test.txt", "0 7\n")
    assert step(imported("lightgcn", tmp_path, tmp_path), "duplicates") == (3, 2)


def test_lightgcn_without_a_test_file_says_what_is_needed(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "0 5\n")
    with pytest.raises(SourceError, match=r"test\.txt: not found; the format needs"):
        import_dataset("lightgcn", tmp_path, tmp_path / "out")


def make_domains(home: Path) -> Path:
    write(home / "phone" / "train.txt", "0\t1\t1\n0\t2\t1\n1\t1\t1\n")
    write(home / "phone" / "test_original.txt", "0\t3\t1\n1\t2\t1\n")
    write(home / "phone" / "test.txt", "1\t2\t1\n")
    write(home / "book" / "train.txt", "0 1 1\n1 4 1\n1 4 1\n")
    write(home / "book" / "test.txt", "0 2 1\n")
    return home


def test_pairs_share_users_and_keep_item_ids_apart(tmp_path: Path) -> None:
    made = imported("pairs", make_domains(tmp_path / "shop"), tmp_path)
    assert set(made.items["item_id"]) == {
        *("book:1", "book:2", "book:4"),
        *("phone:1", "phone:2", "phone:3"),
    }
    assert dict(made.items.select("item_id", "domain").rows())["book:1"] == "book"
    assert set(made.events["user_id"]) == {"0", "1"}


def test_pairs_take_the_complete_held_out_set_and_mark_the_subset(tmp_path: Path) -> None:
    made = imported("pairs", make_domains(tmp_path / "shop"), tmp_path)
    held_out = made.events.filter(pl.col("split") == "test").join(made.items, on="item_key")
    marked = dict(held_out.select("item_id", "in_test_subset").rows())
    assert marked == {"phone:3": False, "phone:2": True, "book:2": None}
    assert any("2 items; test.txt marks 1" in note for note in made.info.notes)


def test_pairs_count_duplicates(tmp_path: Path) -> None:
    made = imported("pairs", make_domains(tmp_path / "shop"), tmp_path)
    assert step(made, "duplicates") == (8, 1)


def test_one_domain_folder_is_a_source_of_its_own(tmp_path: Path) -> None:
    made = imported("pairs", make_domains(tmp_path / "shop") / "phone", tmp_path)
    assert made.items["domain"].unique().to_list() == ["phone"]
    assert made.items["item_id"][0] == "phone:1"


def test_a_third_value_of_zero_is_no_interaction(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "0 1 1\n0 2 0\n0 3\n")
    assert step(imported("pairs", tmp_path, tmp_path), "no interaction") == (2, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 1\n0\n", r"train\.txt line 2: 1 values, must be `user item` or `user item 1`"),
        ("0 1 1\n\n0 1 1 9\n", r"train\.txt line 3: 4 values"),
        ("0 1 yes\n", r"train\.txt line 1: 'yes' is not a number"),
    ],
)
def test_a_pair_that_is_none_is_named_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    write(tmp_path / "train.txt", text)
    with pytest.raises(SourceError, match=message):
        import_dataset("pairs", tmp_path, tmp_path / "out")


def test_a_directory_without_domains_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a folder for each domain"):
        import_dataset("pairs", tmp_path, tmp_path / "out")


def test_an_option_the_format_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="sasrec takes no skip bad rows"):
        import_dataset("sasrec", tmp_path, tmp_path / "out", Options(skip_bad_rows=True))


def test_an_unknown_format_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'movielens' is no format; there are: complete-journey"):
        import_dataset("movielens", tmp_path, tmp_path / "out")


def test_that_pairs_with_ratings_are_all_purchases_is_said(tmp_path: Path) -> None:
    write(tmp_path / "books" / "train.txt", "1 0 5\n1 1 0.5\n2 1 0\n")
    write(tmp_path / "books" / "test.txt", "1 5 4\n")
    made = imported("pairs", tmp_path, tmp_path)
    assert made.events.height == 3
    assert "the third values are from 0.5 to 5: all above 0 count as purchases" in made.info.notes
    write(tmp_path / "books" / "train.txt", "1 0 1\n2 1\n")
    write(tmp_path / "books" / "test.txt", "1 5 1\n")
    assert not any("third" in note for note in imported("pairs", tmp_path, tmp_path).info.notes)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("mode", [0, 0o644], ids=["shut", "listed but shut"])
def test_a_source_that_this_user_may_not_see_is_not_taken_for_absent(
    tmp_path: Path, format_name: str, mode: int
) -> None:
    source = passable(tmp_path) / "given"
    source.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    with shut(source, mode), pytest.raises(PermissionError):
        import_dataset(format_name, source, tmp_path / "out" / "shop")
