"""Cross-domain and search: who is asked what, and what may be shown."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cli.evaluation.plan import ONE_DOMAIN, Plan, read_models
from cli.evaluation.run import evaluate
from cli.evaluation.searching import _best_sellers
from cli.evaluation.training import Job
from models.data.dataset import Dataset, DatasetInfo, write_dataset
from models.data.errors import DataError, OptionError, SplitError
from models.data.importers import import_dataset
from models.data.importers.base import complete_events, complete_items, numbered, with_keys
from models.evaluate.judge import Entry
from models.evaluate.parts import Parts, make_parts
from models.evaluate.ranking import Lists
from models.evaluate.report import Report, Table
from models.evaluate.work import Work
from models.fusion.queries import basket_searches, by_score, search_task, typed_searches
from tests.support.shop import shop
from tests.unit.evaluate.builders import events, items


def report(
    data: Dataset, home: Path, protocol: str, models: str, *sets: str, **more: object
) -> Report:
    made, rest = read_models(models, sets)
    options = {"ks": (5, 10), "draws": 50, "preset": "quick", "work": home / "work", **rest, **more}
    return evaluate(data, Plan(protocol, made, **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def two_shops(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Tastes show in both domains, but every second shopper is new to one of them."""
    random = np.random.default_rng(2)
    rows = []
    for user in range(120):
        taste = user // 2 % 4
        for domain, most in (("books", 6), ("films", 4 * (user % 2))):
            picked = random.choice(10, most + 1, replace=False) + 10 * taste
            for place, item in enumerate(picked):
                split = "test" if place == most else "train"
                rows.append((f"u{user:03}", f"{domain}:{item}", domain, split))
    lines = pl.DataFrame(rows, schema=["user_id", "item_id", "domain", "split"], orient="row")
    made = complete_items(lines.select("item_id", "domain").unique(maintain_order=True))
    found = complete_events(numbered(with_keys(lines.drop("domain"), made)))
    home = tmp_path_factory.mktemp("shops")
    return write_dataset(
        home / "data", items=made, events=found, info=DatasetInfo("shops", "made", "none")
    )


@pytest.fixture(scope="module")
def crossed(two_shops: Dataset) -> Report:
    return report(two_shops, two_shops.path.parent, "cross-domain", "popular,cf,rrf")


def by_name(table: Table) -> dict[str, float]:
    return {row.name: row.metrics["ndcg@10"] for row in table.rows}


def test_every_domain_is_a_target_and_every_row_is_there_twice(crossed: Report) -> None:
    assert [table.title for table in crossed.tables] == [
        "Target domain books",
        "Target domain films",
    ]
    for table in crossed.tables:
        names = [row.name for row in table.rows]
        assert names == ["popular", "cf" + ONE_DOMAIN, "cf", "rrf" + ONE_DOMAIN, "rrf"]
        assert table.users == 120
        assert table.targets == 120
        assert table.catalogue == 40


def test_the_other_domain_helps_who_is_new_to_this_one(crossed: Report) -> None:
    films = crossed.tables[1]
    found = by_name(films)
    assert found["cf"] > found["cf" + ONE_DOMAIN] > found["popular"]
    gap = next(d for d in films.differences if (d.row, d.against) == ("cf", "cf" + ONE_DOMAIN))
    assert gap.low > 0
    new = next(part for part in films.slices if part.name == "domain never visited")
    assert new.users == 60
    assert new.metrics["cf"]["ndcg@10"] > 2 * new.metrics["cf" + ONE_DOMAIN]["ndcg@10"]
    # Without a history in the domain its best sellers are shown, not nothing.
    alone, popular = (new.metrics[name] for name in ("cf" + ONE_DOMAIN, "popular"))
    assert alone == popular


def test_nothing_but_the_target_domain_is_shown(crossed: Report) -> None:
    for table in crossed.tables:
        for row in table.rows:
            # 120 users want each of 40 items; more than all of them cannot be covered.
            assert row.metrics["coverage@10"] <= 1
    assert by_name(crossed.tables[0])["cf"] > 0.2


def test_a_domain_that_is_named_twice_is_judged_once(two_shops: Dataset, crossed: Report) -> None:
    named = ("films", "films")
    again = report(
        two_shops, two_shops.path.parent, "cross-domain", "popular,cf,rrf", domains=named
    )
    assert [table.title for table in again.tables] == [crossed.tables[1].title]


def test_domains_are_named_where_there_are_many(two_shops: Dataset, tmp_path: Path) -> None:
    named = two_shops.items.with_columns(
        domain=pl.col("domain") + (pl.int_range(pl.len()) % 3).cast(pl.String)
    )
    many = write_dataset(
        tmp_path / "many", items=named, events=two_shops.events, info=two_shops.info
    )
    with pytest.raises(SplitError, match=r"6 domains, and each costs .* name some with --domain"):
        report(many, tmp_path, "cross-domain", "cf")
    one = two_shops.items.with_columns(domain=pl.lit("one"))
    single = write_dataset(
        tmp_path / "one", items=one, events=two_shops.events, info=two_shops.info
    )
    with pytest.raises(SplitError, match="none can help another"):
        report(single, tmp_path, "cross-domain", "cf")


def with_films_of(two_shops: Dataset, split: str, home: Path) -> Dataset:
    """The two shops, without the events on films of any other split."""
    films = pl.col("item_key").is_in(
        two_shops.items.filter(pl.col("domain") == "films")["item_key"].implode()
    )
    events = two_shops.events.filter(~films | (pl.col("split") == split))
    return write_dataset(home / "some", items=two_shops.items, events=events, info=two_shops.info)


def test_a_domain_that_nobody_is_asked_about_is_left_out_by_its_name(
    two_shops: Dataset, tmp_path: Path
) -> None:
    some = with_films_of(two_shops, "train", tmp_path)
    found = report(some, tmp_path, "cross-domain", "cf,popular-7d")
    assert [table.title for table in found.tables] == ["Target domain books"]
    assert set(found.skipped) == {"films", "popular-7d"}
    assert "nobody judged has a history and a target" in found.skipped["films"]
    with pytest.raises(SplitError, match="no domain can be judged: films: "):
        report(some, tmp_path, "cross-domain", "cf", domains=("films",))


def test_a_row_that_one_domain_teaches_nothing_is_left_out_there_alone(
    two_shops: Dataset, tmp_path: Path
) -> None:
    some = with_films_of(two_shops, "test", tmp_path)
    found = report(some, tmp_path, "cross-domain", "cf,convex", domains=("films",))
    assert [row.name for row in found.tables[0].rows] == ["popular", "cf", "convex"]
    assert "fewer than two items" in found.skipped[f"cf{ONE_DOMAIN} (films)"]
    assert "could learn" in found.skipped[f"convex{ONE_DOMAIN} (films)"]


def test_rated_queries_judge_words_meaning_and_both(tmp_path: Path) -> None:
    goods, bought = shop(users=4, per_aisle=6)
    relevant = goods.with_columns(rating=(pl.col("category") == "Yogurt").cast(pl.Int64) * 3)
    judged = [
        relevant.select(pl.lit("yogurt").alias("query"), "item_key", "rating"),
        relevant.select(
            pl.lit("nothing fits").alias("query"), "item_key", pl.lit(0, pl.Int64).alias("rating")
        ),
    ]
    data = write_dataset(
        tmp_path / "data", items=goods, events=bought, queries=pl.concat(judged),
        info=DatasetInfo("shop", "made", "time"),
    )  # fmt: skip
    found = report(data, tmp_path, "search", "text,cf,popular,rrf")
    table = found.tables[0]
    assert [row.name for row in table.rows] == ["lexical", "dense", "hybrid"]
    assert found.main == "condensed_ndcg@10"
    assert (table.unit, table.users, table.users_without_history) == ("queries", 1, 1)
    alone = "rated queries judge the text model alone"
    assert found.skipped == {"cf": "answers no query by itself", "popular": alone, "rrf": alone}
    hybrid = table.rows[2].metrics
    assert hybrid["condensed_ndcg@5"] == pytest.approx(1)
    assert hybrid["full_ndcg@5"] == pytest.approx(1)


RATED = {"query": pl.String, "item_key": pl.Int64, "rating": pl.Int64}


@pytest.mark.parametrize("rating", [0, None], ids=["rated 0", "no rating left"])
def test_ratings_that_judge_nothing_are_told_before_any_training(
    tmp_path: Path, rating: int | None
) -> None:
    goods, bought = shop(users=4, per_aisle=6)
    rows = [] if rating is None else [("yogurt", goods["item_key"][0], rating)]
    data = write_dataset(
        tmp_path / "data", items=goods, events=bought.clear(),
        queries=pl.DataFrame(rows, schema=RATED, orient="row"),
        info=DatasetInfo("shop", "made", "none"),
    )  # fmt: skip
    message = "no rated query names a product" if rating is None else "rated above 0"
    with pytest.raises(SplitError, match=message):
        report(data, tmp_path, "search", "text")
    assert not list((tmp_path / "work").glob("text-*"))


def test_where_nobody_could_ask_for_anything_no_option_is_blamed(tmp_path: Path) -> None:
    goods, bought = shop(users=30, per_aisle=8)
    info = DatasetInfo("shop", "made", "time")
    mute = write_dataset(
        tmp_path / "mute", items=goods.with_columns(category=pl.lit("")), events=bought, info=info
    )
    with pytest.raises(SplitError, match="no item has a category and no event judged a query"):
        report(mute, tmp_path, "search", "text")
    nameless = goods.with_columns(title=pl.col("item_id"), text=pl.lit(""))
    wordless = write_dataset(tmp_path / "wordless", items=nameless, events=bought, info=info)
    with pytest.raises(SplitError, match="neither titles nor text"):
        report(wordless, tmp_path, "search", "text")


def test_a_search_for_what_was_bought_is_better_if_the_shopper_is_known(tmp_path: Path) -> None:
    goods, bought = shop(users=30, per_aisle=8)
    data = write_dataset(
        tmp_path / "data", items=goods, events=bought, info=DatasetInfo("shop", "made", "time")
    )
    found = report(data, tmp_path, "search", "cf,text,rrf,popular")
    table = found.tables[0]
    assert [row.name for row in table.rows] == ["cf", "text", "rrf"]
    values = by_name(table)
    assert values["rrf"] > values["text"]
    assert found.skipped == {"popular": "the question is a query"}
    assert not found.exclude_seen


def test_the_same_searches_are_put_by_strangers_whom_only_words_can_help(tmp_path: Path) -> None:
    goods, bought = shop(users=30, per_aisle=8)
    data = write_dataset(
        tmp_path / "data", items=goods, events=bought, info=DatasetInfo("shop", "made", "time")
    )
    known, strangers = report(data, tmp_path, "search", "cf,text,convex").tables
    assert strangers.title == "Product types searched, products bought: by strangers"
    assert (strangers.users, strangers.targets) == (known.users, known.targets)
    assert [row.name for row in strangers.rows] == ["text", "text, by sales", "convex"]
    assert by_name(strangers)["text"] == pytest.approx(by_name(known)["text"])


@pytest.mark.parametrize("wrong", ["content.no_such_field=1", "fusion.no_such_field=1"])
def test_a_wrong_setting_is_told_before_anything_is_trained(tmp_path: Path, wrong: str) -> None:
    goods, bought = shop(users=30, per_aisle=8)
    data = write_dataset(
        tmp_path / "data", items=goods, events=bought, info=DatasetInfo("shop", "made", "time")
    )
    with pytest.raises(OptionError, match="no setting 'no_such_field'"):
        report(data, tmp_path, "time-split", "cf,content,fused", wrong)
    assert not list((tmp_path / "work").glob("cf-*"))


def test_what_is_disliked_does_not_sell(tmp_path: Path) -> None:
    goods = items((1, "deli", "Cheese", ""), (2, "deli", "Ham", ""))
    bought = events(("a", 2, 0), ("a", 1, 1), ("b", 1, 1)).with_columns(
        type=pl.when(pl.col("item_key") == 1).then(pl.lit("dislike")).otherwise("type")
    )
    data = write_dataset(
        tmp_path / "data", items=goods, events=bought, info=DatasetInfo("shop", "made", "time")
    )
    parts = Parts(bought, bought.clear(), bought.clear(), "")
    job = Job(Plan("search", ()), Work(tmp_path / "work"), data, parts, {})
    by_sales = _best_sellers(job, Entry("text", "model", np.array([[1, 2, 0]])))
    assert by_sales.ranked.tolist() == [[2, 1, 0]]


def test_a_basket_is_searched_for_one_of_its_categories() -> None:
    goods = items((1, "deli", "Cheese", ""), (2, "deli", "Ham", ""), (3, "deli", "Cheese", ""),
                  (4, "deli", "", ""))  # fmt: skip
    known = events(("a", 1, 0), ("b", 2, 0))
    wanted = events(
        ("a", 1, 5), ("a", 3, 5), ("a", 2, 9), ("b", 4, 5), ("b", 2, 5), ("new", 1, 5),
        ("new", 2, 5),
    )  # fmt: skip
    task, texts = basket_searches(goods, known, wanted, times="time")
    # b's basket has one named category; whoever has no history is not asked.
    assert dict(zip(task.user_ids, texts, strict=True)) == {"a": "cheese", "b": "ham"}
    assert task.targets.keys.tolist() == [1, 3, 2]


def typed(frame: pl.DataFrame, *queries: str | None) -> pl.DataFrame:
    return frame.with_columns(query=pl.Series(queries, dtype=pl.String))


def test_what_shoppers_typed_comes_before_what_is_made_up() -> None:
    goods = items(*((key, "deli", f"Kind {key}", "") for key in range(1, 6)))
    goods = goods.with_columns(title=pl.concat_str(pl.lit("Oat drink "), "item_id"))
    known = events(("a", 1, 0), ("b", 2, 0))
    wanted = typed(
        events(("a", 3, 5), ("a", 4, 6), ("b", 5, 6), ("new", 1, 6)),
        " Oat Milk", "oat milk", None, "unknown shopper",
    )  # fmt: skip
    task, texts = search_task(goods, known, wanted, searches=10, seed=0)
    taken = {text: task.targets.keys[task.targets.users == n] for n, text in enumerate(texts)}
    # What was typed is asked once, for all it led to; the rest is made up.
    assert taken.pop("oat milk").tolist() == [3, 4]
    assert [keys.tolist() for keys in taken.values()] == [[5]]
    _, few = search_task(goods, known, wanted, searches=1, seed=0)
    assert few == ("oat milk",)


def test_the_first_typed_search_of_each_shopper_is_judged() -> None:
    known = events(("a", 1, 0), ("b", 2, 0))
    wanted = typed(
        events(("a", 1, 4), ("a", 3, 5), ("a", 4, 6), ("a", 2, 7), ("b", 5, 6)),
        None, "tea", "tea", "jam", "",
    )  # fmt: skip
    task, texts = typed_searches(known, wanted)
    assert (task.user_ids, texts) == (("a",), ("tea",))
    assert task.targets.keys.tolist() == [3, 4]


def test_searches_that_were_typed_have_tables_of_their_own(tmp_path: Path) -> None:
    goods, bought = shop(users=30, per_aisle=8)
    words = goods.select("item_key", said=pl.col("title").str.to_uppercase())
    bought = bought.join(words, on="item_key", maintain_order="left")
    bought = bought.with_columns(query="said").drop("said")
    data = write_dataset(
        tmp_path / "data", items=goods, events=bought, info=DatasetInfo("shop", "made", "time")
    )
    titles = [table.title for table in report(data, tmp_path, "search", "cf,text,convex").tables]
    assert titles == [
        "Product types searched, products bought",
        "Searches as shoppers typed them, and what they led to",
        "Product types searched, products bought: by strangers",
        "Searches as shoppers typed them, and what they led to: by strangers",
    ]


def test_lists_are_put_in_the_order_of_their_scores() -> None:
    lists = Lists(np.array([[7, 8, 9, 0]]), np.array([[0.1, np.nan, 0.5, np.nan]], np.float32))
    assert by_score(lists).keys.tolist() == [[9, 7, 8, 0]]


@pytest.mark.parametrize("text", ["cf", "popular,cf"])
def test_a_data_set_without_words_has_no_search(
    two_shops: Dataset, tmp_path: Path, text: str
) -> None:
    with pytest.raises(OptionError, match="needs the text model"):
        report(two_shops, tmp_path, "search", text)


def test_every_failure_of_an_evaluation_is_for_people() -> None:
    assert issubclass(OptionError, DataError)
    assert issubclass(SplitError, DataError)


def test_a_given_split_without_a_test_part_still_has_validation_to_judge(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 1 2 3 4 5 6\n1 2 3 4 5 6 7\n")
    (tmp_path / "test.txt").write_text("0\n1\n")
    data = import_dataset("lightgcn", tmp_path, tmp_path / "data")
    with pytest.raises(SplitError, match="there is no test part to judge; judge the validation"):
        make_parts(data, "given-split")
    assert not make_parts(data, "given-split", judged="validation").train.is_empty()
