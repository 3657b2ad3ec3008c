"""Nothing that is trained, tuned or ranked knows what comes after.

The one idea: the same shop twice, with another future. Whatever differs between
the two evaluations before judging has seen what it must not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cli.evaluation.plan import Plan, read_models
from cli.evaluation.ranking import Asked, baselines
from cli.evaluation.run import make_job
from cli.evaluation.tables import Ranked, ask_for, rank_rows
from cli.evaluation.training import earlier_sources, train_sources
from models.data.dataset import Dataset, DatasetInfo, write_dataset
from models.data.importers import import_dataset
from models.data.prices import as_of
from models.data.splits import time_split
from models.evaluate.parts import make_parts
from models.fusion.catalogue import make_catalogue
from models.fusion.config import Config as FusionConfig
from models.fusion.config import Window
from models.fusion.rankers import known_of, setting_of
from models.fusion.train import before
from models.train import TrainConfig, train_all
from tests.support.shop import shop

# The least that trains anything: what is compared is who knows what.
_SETTINGS = ("sequence.steps=4", "sequence.finishing_steps=1", "content.steps=4",
             "content.further_steps=1", "fusion.visits=30", "fusion.searches=20")  # fmt: skip
_MODELS = "popular-7d,popular,cf,content,sequence,text,rrf,convex,fused"


def dataset(path: Path) -> Dataset:
    items, events = shop(users=40, per_aisle=6, events_each=12)
    prices = pl.Series("price", np.random.default_rng(1).uniform(1, 9, events.height).round(2))
    events = events.with_columns(prices)
    return write_dataset(
        path, items=priced(items, events), events=events, info=DatasetInfo("shop", "made", "time")
    )


def priced(items: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Price items by all of their sales, as an importer may."""
    usual = events.group_by("item_key").agg(usual=pl.col("price").median())
    joined = items.join(usual, on="item_key", how="left", maintain_order="left")
    return joined.with_columns(price=pl.coalesce("usual", "price")).drop("usual")


def with_another(data: Dataset, path: Path, *, later: bool) -> Dataset:
    """Give the test part, or the validation part, other items, prices, markets and queries."""
    split = time_split(data)
    assert split.t1 is not None
    assert split.t2 is not None
    time = pl.col("time")
    planted = time >= split.t2 if later else (time >= split.t1) & (time < split.t2)
    rare = data.events.group_by("item_key").len().sort("len", "item_key")["item_key"][0]
    events = data.events.with_columns(
        item_key=pl.when(planted).then(pl.lit(rare)).otherwise("item_key"),
        price=pl.when(planted).then(1000.0).otherwise("price"),
        quantity=pl.when(planted).then(99.0).otherwise("quantity"),
        query=pl.when(planted).then(pl.lit("leak")).otherwise("query"),
    )
    return write_dataset(path, items=priced(data.items, events), events=events, info=data.info)


@dataclass(frozen=True)
class Made:
    home: Path
    asked: Asked
    ranked: Ranked
    popular: list[np.ndarray]


def made(data: Dataset, home: Path, models_text: str = _MODELS) -> Made:
    named = [
        one for one in _SETTINGS if one.partition(".")[0] in (*models_text.split(","), "fusion")
    ]
    models, more = read_models(models_text, tuple(named))
    plan = Plan(
        "time-split", models, ks=(5,), exclude_seen=False, preset="quick", work=home, **more
    )
    job = make_job(data, plan)
    asked = ask_for(job, together=True)
    found, _ = baselines(job, asked)
    return Made(home, asked, rank_rows(job, asked), [entry.ranked for entry in found])


@pytest.fixture(scope="module")
def futures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Made, Made]]:
    home = tmp_path_factory.mktemp("leakage")
    real = dataset(home / "real")
    planted = with_another(real, home / "planted", later=True)
    assert planted.items["price"].to_list() != real.items["price"].to_list()
    yield made(real, home / "a"), made(planted, home / "b")


def contents(home: Path, source: str) -> dict[str, bytes]:
    """Every file of a part's artifact, the manifest without when and in what order."""
    directory = next(home.glob(f"{source}-*")) / source / "1"
    files = {p.name: p for p in directory.rglob("*") if p.is_file()}
    # A lexical index names its files at random; what it holds is compared by its answers,
    # which are among the manifest's samples.
    kept = {n: p for n, p in files.items() if p.parent.name != "lexical"}
    return {n: b"" if n == "manifest.json" else p.read_bytes() for n, p in kept.items()}


@pytest.mark.parametrize("source", ["cf", "content", "sequence", "text", "fusion"])
def test_no_artifact_changes_with_the_future(futures: tuple[Made, Made], source: str) -> None:
    real, planted = (contents(m.home, source) for m in futures)
    assert real.keys() == planted.keys()
    for name, content in real.items():
        assert content == planted[name], f"{source}/{name} knows the future"


@pytest.mark.parametrize("source", ["cf", "content", "sequence", "text"])
def test_no_manifest_changes_with_the_future(futures: tuple[Made, Made], source: str) -> None:
    manifests = []
    for one in futures:
        manifest = type(one.ranked.sources.found[source].engine.manifest)()
        manifest.CopyFrom(one.ranked.sources.found[source].engine.manifest)
        manifest.ClearField("create_time")
        manifest.ClearField("checksum")
        manifest.file_hashes.clear()
        manifests.append(manifest)
    # Quantiles for calibration, vocabulary, window, metrics and sample answers among them.
    assert manifests[0] == manifests[1]
    assert manifests[0].score_quantiles


def test_no_ranking_changes_with_the_future(futures: tuple[Made, Made]) -> None:
    real, planted = futures
    assert real.asked.task.user_ids == planted.asked.task.user_ids
    assert not np.array_equal(real.asked.task.targets.keys, planted.asked.task.targets.keys)
    for one, other in zip(real.popular, planted.popular, strict=True):
        assert np.array_equal(one, other)
    names = [entry.name for entry in real.ranked.entries]
    assert names == [entry.name for entry in planted.ranked.entries]
    assert {"cf", "text", "rrf", "convex", "fused"} <= set(names)
    for entry, twin in zip(real.ranked.entries, planted.ranked.entries, strict=True):
        assert np.array_equal(entry.ranked, twin.ranked), f"{entry.name} knows the future"


def test_what_is_tuned_on_does_change_the_fusion_and_no_model(
    futures: tuple[Made, Made], tmp_path: Path
) -> None:
    data = dataset(tmp_path / "real")
    other = made(with_another(data, tmp_path / "planted", later=False), tmp_path / "c", "cf,fused")
    assert contents(futures[0].home, "cf") == contents(other.home, "cf")
    one = made(data, tmp_path / "d", "cf,fused")
    real, planted = (contents(home, "fusion") for home in (one.home, other.home))
    assert real["fusion.npz"] != planted["fusion.npz"]


def test_prices_are_those_of_the_time_of_training(tmp_path: Path) -> None:
    data = dataset(tmp_path / "real")
    split = time_split(data)
    assert split.t2 is not None
    doubled = pl.when(pl.col("time") >= split.t2).then(pl.col("price") * 50).otherwise("price")
    events = data.events.with_columns(price=doubled)
    assert as_of(priced(data.items, events), split.train).equals(as_of(data.items, split.train))


def test_an_item_not_sold_yet_keeps_its_listed_price_and_an_unknown_price_stays_unknown(
    tmp_path: Path,
) -> None:
    data = dataset(tmp_path / "real")
    first, second = data.items["item_key"][:2]
    sold = data.events.filter(pl.col("item_key") != first)
    unknown = pl.when(pl.col("item_key") == second).then(None).otherwise("price")
    found = as_of(data.items.with_columns(price=unknown), sold)
    assert found["price"][0] == data.items["price"][0]
    assert found["price"][1] is None


@pytest.mark.parametrize("when", ["time", "order"])
def test_a_price_for_want_of_a_listed_one_does_not_tell_that_an_item_will_be_sold(
    tmp_path: Path, when: str
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "items.csv").write_text("item_id,price\n1,\n2,\n3,\n4,9\n")
    sales = [("1", 4), ("1", 6), ("2", 7), ("4", 3), ("1", 99)]
    rows = [f"u,{item},{1700000000 + at * 86400},{price}" for at, (item, price) in enumerate(sales)]
    text = "\n".join([f"user_id,item_id,{when},price", *rows])
    (tmp_path / "shop" / "events.csv").write_text(text + "\n")
    data = import_dataset("csv", tmp_path / "shop", tmp_path / "data")
    assert data.items["price"].to_list() == [6, 7, None, 9]
    assert as_of(data.items, data.events[:2])["price"].to_list() == [5, None, None, 9]
    assert as_of(data.items, data.events[:0])["price"].to_list() == [None, None, None, 9]


def test_judging_validation_never_meets_the_test_part(tmp_path: Path) -> None:
    data = dataset(tmp_path / "real")
    split = time_split(data)
    for fused in (True, False):
        parts = make_parts(data, "time-split", judged="validation", fused=fused)
        assert parts.wanted.equals(split.valid)
        assert parts.known["time"].max() < split.t1  # type: ignore[operator]
        assert bool(parts.tune.height) is fused


def test_training_does_not_know_what_is_paid_in_the_tenth_that_is_tuned_on(tmp_path: Path) -> None:
    real = dataset(tmp_path / "real")
    planted = with_another(real, tmp_path / "planted", later=True)
    options: dict[str, dict[str, object]] = {"content": {"steps": 4, "further_steps": 1}}
    config = TrainConfig(sources=("content",), preset="quick", options=options)
    found = []
    for data, home in ((real, tmp_path / "a-1"), (planted, tmp_path / "b-1")):
        train_all(data, home, config)
        found.append((home / "content" / "1" / "item_vectors.npy").read_bytes())
    assert found[0] == found[1]


def test_an_earlier_window_does_not_know_what_is_paid_in_it(tmp_path: Path) -> None:
    real = dataset(tmp_path / "real")
    parts = make_parts(real, "time-split")
    config = FusionConfig(least_questions=1)
    then = before(config, Window(parts.train, parts.tune))
    assert then is not None
    later = pl.col("time") >= then.wanted["time"].min()
    paid = pl.when(later).then(1000.0).otherwise("price")
    events = real.events.with_columns(price=paid)
    planted = write_dataset(
        tmp_path / "planted", items=priced(real.items, events), events=events, info=real.info
    )
    found = []
    for data, home in ((real, tmp_path / "a-2"), (planted, tmp_path / "b-2")):
        models, _ = read_models("content", ("content.steps=4", "content.further_steps=1"))
        job = make_job(data, Plan("time-split", models, preset="quick", work=home))
        source = earlier_sources(job, train_sources(job), then)["content"]
        vectors = np.load(source.directory / "item_vectors.npy")
        known = make_catalogue(
            job.dataset.items, np.zeros((job.dataset.items.height, 1), np.float32)
        )
        setting = setting_of(config, known, {"content": source.engine}, then, ordered=True)
        found.append((vectors, known_of(job.dataset, setting, then).shelf.price))
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])
