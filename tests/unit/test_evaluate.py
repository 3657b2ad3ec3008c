"""The evaluation: metrics by definition, tasks without leaks, every item in the race."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.engine import Answer, Question
from models.data.schema import EVENTS
from models.evaluate.fused import Shopper, rank_fused
from models.evaluate.metrics import Keys, Ragged, per_user, summarise
from models.evaluate.popularity import PopularityEngine
from models.evaluate.ranking import Asking, Lists, padded_history, rank
from models.evaluate.task import make_task
from plait.v1.manifest_pb2 import Manifest

START = datetime(2024, 1, 1, tzinfo=UTC)


def ragged(*lists: list[int]) -> Ragged:
    starts = np.cumsum([0, *map(len, lists)])
    flat = [key for keys in lists for key in keys]
    return Ragged(np.array(flat, np.int64), starts.astype(np.int64))


def events(*rows: tuple[str, int, int]) -> pl.DataFrame:
    """Purchases from (user, item key, day)."""
    table = pl.DataFrame(
        {
            "user_id": [user for user, _, _ in rows],
            "item_key": [key for _, key, _ in rows],
            "type": "purchase",
            "time": [START + timedelta(days=day) for _, _, day in rows],
            "order": list(range(len(rows))),
            "quantity": 1.0,
            "price": None,
            "market": "north",
            "query": None,
            "split": None,
        },
        schema_overrides=EVENTS,
    )
    return table.select(list(EVENTS))


def by_definition(ranked: list[int], targets: set[int], k: int) -> tuple[float, float, float]:
    """Recall, NDCG and reciprocal rank, written out as in the textbook."""
    places = [i for i, key in enumerate(ranked) if key in targets and key != 0]
    gain = sum(1 / math.log2(i + 2) for i in places if i < k)
    ideal = sum(1 / math.log2(i + 2) for i in range(min(k, len(targets))))
    found = sum(i < k for i in places)
    return found / len(targets), gain / ideal, 1 / (places[0] + 1) if places else 0.0


USER = st.tuples(
    st.lists(st.integers(1, 30), min_size=10, max_size=10, unique=True),
    st.sets(st.integers(1, 30), min_size=1, max_size=15),
)


@settings(max_examples=60)
@given(st.lists(USER, min_size=1, max_size=6), st.integers(1, 10))
def test_metrics_are_those_of_the_textbook(users: list[tuple[list[int], set[int]]], k: int) -> None:
    ranked = np.array([shown for shown, _ in users], np.int64)
    found = per_user(ranked, ragged(*(sorted(wanted) for _, wanted in users)), [k])
    for user, (shown, wanted) in enumerate(users):
        recall, ndcg, reciprocal = by_definition(shown, wanted, k)
        assert found[f"recall@{k}"][user] == pytest.approx(recall)
        assert found[f"ndcg@{k}"][user] == pytest.approx(ndcg)
        assert found["mrr"][user] == pytest.approx(reciprocal)
        precision = found[f"precision@{k}"][user]
        harmonic = 2 * precision * recall / (precision + recall) if precision else 0.0
        assert found[f"f1@{k}"][user] == pytest.approx(harmonic)


def test_padding_is_never_a_hit_and_never_covers_the_catalogue() -> None:
    ranked = np.array([[5, 0, 0], [6, 5, 0]], np.int64)
    found = summarise(ranked, ragged([5], [7]), [3], catalogue_size=8)
    assert found["recall@3"] == 0.5
    assert found["coverage@3"] == 2 / 8


def test_what_was_seen_is_neither_shown_nor_looked_for() -> None:
    known = events(("a", 1, 0), ("a", 2, 1), ("b", 1, 0))
    task = make_task(known, events(("a", 1, 5), ("a", 3, 5), ("b", 1, 6), ("c", 1, 5)))
    assert task.user_ids == ("a",)  # of b nothing new is wanted, of c nothing is known
    assert task.targets.keys.tolist() == [3]
    assert task.without_history == 1
    found = rank(PopularityEngine(known), task, 5, Asking())
    assert found.keys.tolist() == [[0, 0, 0, 0, 0]]


def test_seen_items_count_where_people_buy_again() -> None:
    known = events(("a", 1, 0), ("a", 2, 1), ("b", 2, 0))
    task = make_task(known, events(("a", 1, 5), ("a", 3, 5)), exclude_seen=False)
    assert task.targets.keys.tolist() == [1, 3]
    assert rank(PopularityEngine(known), task, 2, Asking()).keys.tolist() == [[2, 1]]


def test_a_sample_of_users_depends_on_the_seed_alone() -> None:
    known = events(*((f"u{i}", 1, 0) for i in range(20)))
    wanted = events(*((f"u{i}", 2, 1) for i in range(20)))
    drawn = [make_task(known, wanted, users=5, seed=s).user_ids for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 5


def test_histories_are_the_newest_events_and_fade_with_age() -> None:
    known = events(("a", 1, 0), ("a", 2, 60), ("a", 3, 120), ("b", 9, 120))
    wanted = events(("a", 7, 120), ("b", 7, 120))
    task = make_task(known, wanted)
    keys, weight = padded_history(task, np.array([0, 1]), Asking(2, 60.0, 0.2))
    assert keys.tolist() == [[2, 3], [0, 9]]
    assert weight.tolist() == [pytest.approx([0.5, 1.0]), [0.0, 1.0]]
    _, floored = padded_history(task, np.array([0]), Asking(3, 20.0, 0.2))
    assert floored.tolist() == [pytest.approx([0.2, 0.2, 1.0])]


class Recorder:
    """An engine that answers the keys 1..k and remembers how it was asked."""

    def __init__(self) -> None:
        self.manifest = Manifest(source="recorder")
        self.asked: list[Question] = []

    def run(self, question: Question) -> Answer:
        assert question.k is not None
        self.asked.append(question)
        top = int(question.k.max())
        keys = np.tile(np.arange(1, top + 1), (len(question.history), 1))
        scores: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = -keys.astype(np.float32)
        return Answer(scores=scores, item_keys=keys)


def test_as_many_items_are_left_as_were_asked_for_when_seen_ones_are_removed() -> None:
    rows = [(f"u{i:03d}", key, key) for i in range(130) for key in range(1, i % 5 + 2)]
    known = events(*rows)
    task = make_task(known, events(*((f"u{i:03d}", 50, 99) for i in range(130))))
    engine = Recorder()
    found = rank(engine, task, 4, Asking())
    for user in range(130):
        seen = user % 5 + 1
        assert found.keys[user].tolist() == [seen + 1, seen + 2, seen + 3, seen + 4]
    assert max(len(q.history) for q in engine.asked) <= 64


def test_the_fusion_gets_what_the_sources_answered() -> None:
    known = events(("a", 1, 0), ("b", 2, 0), ("b", 1, 3))
    task = make_task(known, events(("a", 5, 9), ("b", 6, 9)))
    lists = {"cf": Lists(np.array([[5, 0], [6, 7]]), np.array([[1, np.nan], [2, 1]], np.float32))}
    seen: list[Shopper] = []

    def fuse(shopper: Shopper, k: int) -> Keys:
        seen.append(shopper)
        return shopper.answers["cf"][0][:k]

    ranked = rank_fused(fuse, task, lists, k=3, asking=Asking())
    assert ranked.tolist() == [[5, 0, 0], [6, 7, 0]]
    assert seen[0].history.tolist() == [1]
    assert seen[1].seen.tolist() == [1, 2]
    assert seen[1].market == "north"
    assert seen[1].now == (START + timedelta(days=9)).timestamp()
