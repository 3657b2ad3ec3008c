"""What an exposure log says of places, and what training makes of it.

Shoppers are simulated, since no log of real ones exists: they want some of what they are
shown, and look at a place with a known probability.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from artifacts.formulas import Floats
from artifacts.keys import Keys
from artifacts.ranker.features import names
from models.data.dataset import Dataset, DatasetInfo
from models.data.errors import SourceError
from models.evaluate.ranking import Asking, Lists
from models.fusion.cases import Setting
from models.fusion.config import Config, Window
from models.fusion.exposures import learn_weights, read_exposures
from models.fusion.network import subset, train_network
from models.fusion.ranker import ndcg
from models.fusion.rankers import known_of
from models.fusion.tables import Known, Table, tables_of
from models.progress import silent
from tests.unit.fusion.builders import SOURCES, columns
from tests.unit.fusion.learning import NOW, catalogue, events, question
from tests.unit.fusion.test_ranker import learned, named, shelf

CANDIDATES, SHOPPERS = 12, 900
CONFIG = Config(passes=6, hidden=(8,))


def page(ranking: str, user: str, items: Sequence[str], first: int = 1) -> dict[str, Any]:
    return {
        "time": 0.0, "ranking_id": ranking, "user_id": user, "market": "", "surface": "HOME",
        "first_position": first, "item_ids": list(items), "sources": {}, "versions": {},
        "canary": {}, "fallback": False,
    }  # fmt: skip


def followed(ranking: str, user: str, item: str, time: float, kind: str = "click") -> Any:
    return {
        "time": time, "ranking_id": ranking, "user_id": user, "item_id": item, "event": kind,
    }  # fmt: skip


def write(path: Path, lines: Sequence[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


class Shop:
    """Shoppers who want what text says, shown what cf says in slates that change a little."""

    def __init__(self, seed: int, shoppers: int = SHOPPERS, power: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        looked_at = np.arange(1, CANDIDATES + 1) ** -power
        self.lines: list[Any] = []
        self.wanted: list[Table] = []
        self.clicked: list[Table] = []
        for number in range(shoppers):
            features = np.zeros((CANDIDATES, len(names(SOURCES))), np.float32)
            for source in SOURCES:
                features[:, names(SOURCES).index(f"{source}.named")] = 1
                features[:, names(SOURCES).index(f"{source}.score")] = rng.random(CANDIDATES)
            wanted = rng.random(CANDIDATES) < np.where(named(features, "text.score") > 0.7, 0.8, 0)
            user = f"u{number}"
            for visit in range(4):
                noise = rng.normal(size=CANDIDATES) * (0.25 if visit else 0.0)
                order = np.argsort(-(named(features, "cf.score") + noise))
                looked = rng.random(CANDIDATES) < looked_at
                hits = order[wanted[order] & looked]
                ranking, at = f"{user}-{visit}", float(-visit)  # the last is at 0
                items = [str(1 + number * CANDIDATES + item) for item in order]
                self.lines.append(page(ranking, user, items[:5]))
                self.lines.append(page(ranking, user, items[5:], first=6))
                self.lines += [
                    followed(ranking, user, str(1 + number * CANDIDATES + item), at)
                    for item in hits.tolist()
                ]
                if not visit:
                    target = np.isin(np.arange(CANDIDATES), hits)
            rows = np.arange(CANDIDATES, dtype=np.int32)
            self.wanted.append(Table(user, features, wanted, int(wanted.sum()), rows))
            self.clicked.append(Table(user, features, target, int(target.sum()), rows))

    def learning(self) -> list[Table]:
        return [table for table in self.clicked if table.target.any()]


def keys_of(table: Table) -> np.ndarray:
    return 1 + int(table.user[1:]) * CANDIDATES + np.arange(CANDIDATES, dtype=np.int64)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_how_far_down_shoppers_look_is_found_from_items_that_moved(
    tmp_path: Path, power: float
) -> None:
    shop = Shop(0, power=power)
    _, found = learn_weights([write(tmp_path / "log.jsonl", shop.lines)], 10.0)
    for place in (1, 2, 3, 4, 5, 6):
        assert found.at(place) == pytest.approx(place**-power, rel=0.25)
    # Places that are taken as one lie between their ends, and are noisier.
    assert 12**-power * 0.6 < found.at(10) < 8**-power * 1.4
    assert found.at(500) == found.at(12)
    assert found.followed == sum("event" in line for line in shop.lines)


def test_a_ranker_that_knows_where_shoppers_look_comes_closer_to_what_they_want(
    tmp_path: Path,
) -> None:
    shop, judging = Shop(21, shoppers=500), Shop(2, shoppers=150).wanted
    weigh, _ = learn_weights([write(tmp_path / "log.jsonl", shop.lines)], 12.0)
    biased = shop.learning()
    corrected = [replace(t, weight=weigh(t.user, keys_of(t), 0.0)) for t in biased]
    unbiased = [t for t in shop.wanted if t.target.any()]

    def learned(tables: list[Table]) -> tuple[float, np.ndarray]:
        network = train_network(CONFIG, tables, len(SOURCES), silent)
        scores = [network.score(t.features) for t in judging]
        asked = zip(judging, scores, strict=True)
        quality = float(np.mean([ndcg(t, s, 10) for t, s in asked if t.target.any()]))
        return quality, np.concatenate([s.argsort().argsort() for s in scores])

    (best, truth), (corrected_ndcg, near), (plain_ndcg, far) = map(
        learned, (unbiased, corrected, biased)
    )
    assert plain_ndcg + 0.01 < corrected_ndcg <= best + 0.02
    assert np.corrcoef(near, truth)[0, 1] > np.corrcoef(far, truth)[0, 1] + 0.05


def test_what_did_not_follow_from_a_ranking_counts_once_and_nothing_counts_without_bound(
    tmp_path: Path,
) -> None:
    shop = Shop(3)
    weigh, found = learn_weights([write(tmp_path / "log.jsonl", shop.lines)], 3.0)
    assert found.at(12) < 1 / 3
    every = np.concatenate([weigh(t.user, keys_of(t), 0.0)[t.target] for t in shop.clicked])
    assert every.min() == 1
    assert every.max() == np.float32(3)
    table = shop.learning()[0]
    assert (weigh(table.user, keys_of(table), 1.0) == 1).all()  # it followed before that
    # Nor does what followed after the events end that answer the question.
    followed = weigh(table.user, keys_of(table), 0.0)
    assert (followed > 1).any()
    assert (weigh(table.user, keys_of(table), 0.0, -1.0) == 1).all()
    assert (weigh("somebody", keys_of(table), 0.0) == 1).all()


def test_a_table_holds_what_its_candidates_count_from_when_it_was_asked() -> None:
    asked: list[tuple[str, float, float]] = []

    def weigh(user: str, keys: Keys, since: float, until: float = 0.0) -> Floats:
        asked.append((user, since, until))
        return keys.astype(np.float32)

    task = question([1, 2], [9.0, 0.5])
    keys = columns().keys
    lists = {"cf": Lists(keys[np.array([[3, 1, 7]])], np.array([[3.0, 2.0, 1.0]], np.float32))}
    setting = Setting(catalogue(), {}, Asking(half_life_days=0), np.zeros((3, 3), np.float32))
    known = Known(setting, shelf(), learned(sources=("cf",)).habits, weigh, until=2e9)
    (table,) = tables_of(task, lists, known, setting.asking)
    assert table.weight is not None
    assert table.weight.tolist() == keys[table.rows].tolist()
    assert asked == [(task.user_ids[0], float(task.now[0]), 2e9)]


def test_the_judge_counts_a_target_by_its_weight() -> None:
    features = np.zeros((3, 1), np.float32)
    table = Table("u", features, np.array([True, True, False]), 2, np.arange(3, dtype=np.int32))
    weighed = replace(table, weight=np.array([1.0, 4.0, 1.0], np.float32))
    heavy_first, light_first = np.array([1, 2, 0], np.float32), np.array([2, 1, 0], np.float32)
    assert ndcg(table, heavy_first, 10) == ndcg(table, light_first, 10) == pytest.approx(1)
    assert ndcg(weighed, heavy_first, 10) == pytest.approx(1)
    assert ndcg(weighed, light_first, 10) < 0.8
    ones = replace(table, weight=np.ones(3, np.float32))
    worst = np.array([0, 1, 2], np.float32)
    assert ndcg(ones, worst, 10) == pytest.approx(ndcg(table, worst, 10))


def test_weights_stay_with_their_candidates_when_sources_are_left_out() -> None:
    table = Shop(4, shoppers=1).wanted[0]
    features = table.features.copy()
    features[:, names(SOURCES).index("times")] = 0
    for source in SOURCES[1:]:
        features[4:, names(SOURCES).index(f"{source}.named")] = 0
    weights = np.arange(CANDIDATES, dtype=np.float32)
    there = np.array([False, True, True, True])
    fewer = subset(replace(table, features=features, weight=weights), there)
    assert fewer.weight is not None
    assert fewer.weight.tolist() == [0, 1, 2, 3]


def test_pages_and_events_are_joined_across_files_and_repeats_count_once(tmp_path: Path) -> None:
    old = write(tmp_path / "log.jsonl.1", [page("r", "u", ["7", "8"]), page("r", "u", ["7", "8"])])
    new = write(
        tmp_path / "log.jsonl",
        [
            page("r", "u", ["9"], first=3), {**page("s", "u", ["9"]), "surface": "CART"},
            followed("r", "u", "9", 5.0), followed("r", "u", "9", 3.0, "purchase"),
            followed("r", "u", "8", 1.0, "dislike"), followed("gone", "u", "7", 1.0),
        ],
    )  # fmt: skip
    shown = read_exposures([old, new]).shown.sort("place")
    assert shown["item_key"].to_list() == [7, 8, 9]
    assert shown["place"].to_list() == [1, 2, 3]
    assert shown["time"].to_list() == [None, None, 3.0]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no page of HOME was shown"),
        ([page("r", "u", ["1"])], "no event names a ranking; have the storefront send ranking_id"),
        ([page("r", "u", ["1"]), followed("r", "u", "1", 0.0)], "too little to tell how far"),
        ([{"ranking_id": "r"}], "line 1: not a line of an exposure log"),
        ([page("r", "u", ["1"]), [1]], "line 2: not a JSON object"),
        ([{**page("r", "u", ["1"]), "first_position": None}], "line 1: not a line"),
    ],
)
def test_a_log_that_cannot_be_used_says_why(tmp_path: Path, lines: list[Any], said: str) -> None:
    path = write(tmp_path / "log.jsonl", lines)
    with pytest.raises(SourceError, match=said) as refused:
        learn_weights([path], 10.0)
    assert str(path) in str(refused.value)


def test_files_that_are_no_logs_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        learn_weights([tmp_path / "absent.jsonl"], 10.0)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match="not lines of JSON"):
        learn_weights([tmp_path / "bytes"], 10.0)


def test_a_line_that_was_cut_short_is_named_by_its_place_in_the_log(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [page("r", "u", ["7"]), followed("r", "u", "7", 1.0)])
    with log.open("a") as file:
        file.write('{"ranking_id": "r", "us')
    with pytest.raises(SourceError, match="line 3: not JSON"):
        learn_weights([log], 10.0)


def test_a_line_of_a_forgotten_shopper_is_blank_and_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "log", [page("r1", "u", ["a", "b"]), followed("r1", "u", "b", 1.0)])
    whole = read_exposures([path])
    path.write_bytes(b" " * 90 + b"\n" + path.read_bytes())
    assert read_exposures([path]).shown.equals(whole.shown)


def test_a_byte_order_mark_is_no_part_of_a_log(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [page("r", "u", ["7"]), followed("r", "u", "7", 1.0)])
    log.write_text(log.read_text(), encoding="utf-8-sig")
    assert read_exposures([log]).shown.height == 1


def test_the_last_second_of_a_window_is_whole() -> None:
    """Of what followed at 59.4 s, an export of whole seconds says 59."""
    last = NOW + timedelta(seconds=59)
    wanted = events([{"item_key": int(columns().keys[0]), "time": last}])
    items = pl.DataFrame({"item_key": columns().keys}).with_columns(
        price=pl.lit(1.0), brand=pl.lit(""), provider=pl.lit("")
    )
    data = Dataset(Path("shop"), items, wanted, None, DatasetInfo("shop", "made", "time"))
    setting = Setting(catalogue(), {}, Asking(), np.zeros((3, 3), np.float32))
    until = known_of(data, setting, Window(wanted, wanted)).until
    assert last.timestamp() + 0.4 < until <= last.timestamp() + 1
