import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from models.data.dataset import Dataset, load_dataset
from models.data.errors import SourceError
from models.data.importers import import_dataset
from tests.unit.data.builders import write


def product(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "name": f"X{number}",
        "title": f"Acme X{number} toner cartridge Original Black",
        "supplier": "Acme",
        "price": 4995,
        "ean": ["0095205603217"],
        "date_released": "2009-12-10T00:00:00Z",
        **fields,
    }


def archive(path: Path, products: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(path.name.removesuffix(".zip"), json.dumps(products))
    return path


def imported(source: Path) -> Dataset:
    import_dataset("icecat-search", source, source.parent / "out")
    return load_dataset(source.parent / "out")


def test_products_of_all_archives_become_items(tmp_path: Path) -> None:
    archive(tmp_path / "shop" / "1.json.zip", [product(1)])
    archive(tmp_path / "shop" / "2.json.zip", [product(2), product(1, price=1)])
    made = imported(tmp_path / "shop")
    assert made.items["item_id"].to_list() == ["1", "2"]
    assert made.items["price"].to_list() == [49.95, 49.95]
    assert made.items["brand"].to_list() == made.items["provider"].to_list() == ["Acme", "Acme"]
    assert made.events.height == 0
    assert made.queries is None
    assert next(s.dropped for s in made.info.report.steps if s.name == "duplicates") == 1


def test_attributes_become_words(tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "short_description": "Toner for X",
        "attr_t_product_colour": "Black",
        "attr_n_page_yield": 23000.0,
        "attr_b_wi_fi": True,
        "attr_b_bluetooth": False,
        "attr_n_package_weight": 3.0,
    }
    archive(tmp_path / "shop" / "1.json.zip", [product(1, **fields)])
    item = imported(tmp_path / "shop").items.row(0, named=True)
    assert item["text"] == "Toner for X. product colour: Black; page yield: 23000; wi fi"
    attributes = json.loads(item["attributes"])
    assert attributes["page yield"] == "23000"
    assert (attributes["wi fi"], attributes["bluetooth"]) == ("yes", "no")
    assert attributes["package weight"] == "3"
    assert attributes["released"] == "2009-12-10"


def test_what_titles_call_products_is_their_category(tmp_path: Path) -> None:
    products = [product(i) for i in range(1, 6)]
    products += [
        product(6, title="Acme Toner Cartridge for X6, Toner Cartridge"),
        product(7, title="Acme thing", attr_t_product_type="Notebook"),
        product(8, title="Acme X8 gizmo"),
    ]
    archive(tmp_path / "shop" / "1.json.zip", products)
    category = imported(tmp_path / "shop").items["category"].to_list()
    assert category == ["toner cartridge"] * 6 + ["notebook", ""]


def test_prices_with_a_fraction_are_not_divided(tmp_path: Path) -> None:
    archive(tmp_path / "shop" / "1.json.zip", [product(1, price=499.5), product(2, price=None)])
    assert imported(tmp_path / "shop").items["price"].to_list() == [499.5, None]


def test_judgements_on_products_that_are_missing_are_counted(tmp_path: Path) -> None:
    archive(tmp_path / "shop" / "1.json.zip", [product(1)])
    ratings = 'query,docid,rating\ntoner,1,3\n"toner, black",1,2\ntoner,9,1\ntoner,1,0\n'
    write(tmp_path / "shop" / "rated.csv", ratings)
    write(tmp_path / "shop" / "other.csv", "a,b\n1,2\n")
    made = imported(tmp_path / "shop")
    assert made.queries is not None
    assert made.queries.rows() == [("toner", 1, 3), ("toner, black", 1, 2)]
    steps = {s.name: s for s in made.info.report.steps}
    assert (steps["judged twice"].dropped, steps["unknown products"].dropped) == (1, 1)
    assert steps["unknown products"].reason.endswith("such as '9'")


def test_a_catalogue_without_ratings_says_which_columns_they_have(tmp_path: Path) -> None:
    archive(tmp_path / "shop" / "1.json.zip", [product(1)])
    write(tmp_path / "shop" / "rated.csv", "query,product_id,rating\ntoner,1,3\n")
    made = imported(tmp_path / "shop")
    assert made.queries is None
    assert "no CSV has the columns query, docid, rating: no queries" in made.info.notes


@pytest.mark.parametrize(
    ("products", "message"),
    [
        ({"id": 1}, r"1\.json\.zip!1\.json: must be a JSON list"),
        ([product(1), 5], r"1\.json\.zip!1\.json product 2: must be a JSON object"),
        ([product(1, title=" ")], "product 1, field title: is empty"),
        ([{"title": "x"}], "product 1, field id: is empty"),
        ([product(1), product(2, title="a\ud83d b")], "product 2: holds half of a letter"),
        ([], r"no product in 1\.json\.zip"),
        ([product(1, price="cheap")], "product 1, field price: 'cheap' is not a number"),
    ],
)
def test_a_product_that_cannot_be_read_is_named(
    tmp_path: Path, products: Any, message: str
) -> None:
    archive(tmp_path / "1.json.zip", products)
    with pytest.raises(SourceError, match=message):
        import_dataset("icecat-search", tmp_path, tmp_path / "out")


def test_a_rating_that_is_no_number_is_named_with_its_line(tmp_path: Path) -> None:
    archive(tmp_path / "1.json.zip", [product(1)])
    write(tmp_path / "rated.csv", "query,docid,rating\n\ntoner,1,good\n")
    with pytest.raises(SourceError, match=r"rated\.csv line 3, column rating: 'good' is not a who"):
        import_dataset("icecat-search", tmp_path, tmp_path / "out")


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.json.zip").write_bytes(b"PK no")
    with pytest.raises(SourceError, match=r"1\.json\.zip: not a zip archive"):
        import_dataset("icecat-search", tmp_path, tmp_path / "out")


def test_an_empty_directory_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no \*\.json\.zip"):
        import_dataset("icecat-search", tmp_path, tmp_path / "out")


@pytest.mark.parametrize("fields", [{}, {"name": ""}, {"name": None}, {"name": " "}])
def test_a_product_needs_no_name(tmp_path: Path, fields: dict[str, Any]) -> None:
    bare = {"id": "1", "title": "Acme X1 toner cartridge", **fields}
    archive(tmp_path / "shop" / "1.json.zip", [bare])
    item = imported(tmp_path / "shop").items.row(0, named=True)
    assert (item["title"], item["category"], item["text"]) == ("Acme X1 toner cartridge", "", "")


def test_prices_and_ratings_may_be_written_in_digits_of_any_kind(tmp_path: Path) -> None:
    prices = ["499.5", " 12 ", "", None]
    products = [product(i, price=price) for i, price in enumerate(prices, start=1)]
    archive(tmp_path / "shop" / "1.json.zip", products)
    write(tmp_path / "shop" / "rated.csv", "query,docid,rating\ntoner,1,3.0\ntoner,2,0.0\n")
    made = imported(tmp_path / "shop")
    assert made.items["price"].to_list() == [499.5, 12, None, None]
    assert made.queries is not None
    assert made.queries["rating"].to_list() == [3, 0]
