import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import plait
from models.data.importers import FORMATS
from tests.unit.data.builders import write


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(plait, ["import", *map(str, arguments)])


def test_help_shows_every_format_and_an_example() -> None:
    output = run("--help").output
    assert all(f"  {name} " in output for name in FORMATS)
    assert "plait import complete-journey package" in output


def test_a_person_reads_what_was_dropped_and_why(tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", "user,item,qty\na,1,1\nb,2,0\n")
    result = run("csv", file, tmp_path / "out")
    assert result.exit_code == 0
    assert "zero quantities" in result.output
    assert "nothing was bought" in result.output
    assert "1 user, 1 item, 1 domain, 1 event" in result.output


def test_a_person_reads_that_no_query_keeps_a_product(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write(shop / "events.csv", "user,item\na,1\n")
    write(shop / "queries.csv", "query,item_id,rating\nshirt,7,2\n")
    assert "1 event, 0 queries" in run("csv", shop, tmp_path / "out").output
    catalogue = write(tmp_path / "search" / "1.json", '[{"id": 1, "title": "Lamp"}]').parent
    assert "0 queries" in run("icecat-search", catalogue, tmp_path / "found").output
    write(catalogue / "rated.csv", "query,docid,rating\nlamp,9,3\n")
    assert "0 queries" in run("icecat-search", catalogue, tmp_path / "found").output


def test_a_machine_reads_json(tmp_path: Path) -> None:
    file = write(tmp_path / "Shop.txt", "1 2 3\n")
    summary = json.loads(run("sasrec", file, tmp_path / "out", "--json").output)
    assert (summary["users"], summary["items"], summary["events"]) == (1, 2, 2)
    assert summary["times"] == "order"
    assert summary["report"][0]["name"] == "events read"


def test_columns_are_mapped_by_options_and_by_file(tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", "who,what,did\na,1,took\n")
    mapping = write(tmp_path / "map.toml", '[events]\nuser_id = "who"\n[type]\ntook = "purchase"\n')
    options = ("--mapping", mapping, "--map", "item_id=what", "--map", "type=did", "--json")
    result = run("csv", file, tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["events"] == 1


def test_bad_rows_can_be_skipped(tmp_path: Path) -> None:
    file = write(tmp_path / "events.csv", "user,item,price\na,1,1\nb,2,abc\n")
    result = run("csv", file, tmp_path / "out")
    assert result.exit_code == 1
    assert result.output == f"Error: {file} line 3, column price: 'abc' is not a number\n"
    assert run("csv", file, tmp_path / "out", "--skip-bad-rows").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tape", "x", "out"), "'tape' is not one of 'complete-journey'"),
        (("csv", "nowhere", "out"), "nowhere: not found; give a file of events"),
        (("csv", "x", "out", "--map", "user_id"), "'user_id' is not FIELD=COLUMN"),
        (("sasrec", "x", "out", "--min-item-events", "2"), "sasrec takes no min item events"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("text", ["user_id = ", "[events]\nuser_id = 3\n"])
def test_a_mapping_file_that_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    mapping = write(tmp_path / "map.toml", text)
    result = run("csv", tmp_path, tmp_path / "out", "--mapping", mapping)
    assert result.exit_code == 1
    assert "map.toml" in result.output


def test_a_directory_of_other_things_is_not_overwritten(tmp_path: Path) -> None:
    file = write(tmp_path / "keep" / "Shop.txt", "1 2\n")
    result = run("sasrec", file, tmp_path / "keep")
    assert result.exit_code == 1
    assert "is no dataset" in result.output
    assert file.read_text() == "1 2\n"


def test_brackets_in_values_and_names_are_no_markup(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write(shop / "events.csv", "user,item,price\na,1,1\nb,2[/b],1\nc,1,[red]9\n")
    write(shop / "items.csv", "item\n1\n")
    result = run("csv", shop, tmp_path / "out", "--skip-bad-rows")
    assert result.exception is None
    assert "'2[/b]'" in result.output
    assert "'[red]9'" in result.output
