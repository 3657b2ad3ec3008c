"""Events, questions and tables that tests of the fusion's training share."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from artifacts.ranker.features import names
from artifacts.ranker.network import Network
from models.data.schema import EVENTS
from models.evaluate.metrics import Ragged
from models.evaluate.task import Task
from models.fusion.cases import TERMS, Case
from models.fusion.catalogue import Catalogue
from models.fusion.config import Config
from models.fusion.ranker import ndcg
from models.fusion.tables import Table
from tests.unit.fusion.builders import SOURCES, columns
from tests.unit.fusion.test_ranker import named

DAY = 86_400.0
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def events(rows: list[dict[str, Any]]) -> pl.DataFrame:
    plain = {
        "user_id": "u", "type": "purchase", "time": NOW, "order": 0, "quantity": 1.0,
        "price": None, "market": "north", "query": None, "split": None,
    }  # fmt: skip
    return pl.DataFrame([plain | row for row in rows], schema=dict(EVENTS))


def catalogue() -> Catalogue:
    """The catalogue of the stages' tests, as the tuning has it."""
    same = columns()
    return Catalogue(same.keys, same.domain, same.domain_names, same.category, same.vectors)


def one_question(history: list[int], targets: list[int]) -> Task:
    """A task of one user whose history and targets are catalogue rows."""
    keys = columns().keys
    return Task(
        user_ids=("u",),
        history=Ragged(keys[history], np.array([0, len(history)])),
        history_weight=np.linspace(0.5, 1, len(history), dtype=np.float32),
        history_time=np.arange(len(history), dtype=np.float64),
        timed=False,
        now=np.array([9.0]),
        market=("north",),
        targets=Ragged(keys[sorted(targets)], np.array([0, len(targets)])),
        exclude_seen=False,
        without_history=0,
    )


def case(good: int, sources: int, rng: np.random.Generator) -> Case:
    """A question whose one target only source `good` knows to be best."""
    calibrated = rng.random((sources, 30)).astype(np.float32)
    target = np.zeros(30, np.bool_)
    target[4] = True
    calibrated[good, 4] = 1.0
    terms = np.zeros((len(TERMS), 30), np.float32)
    return Case(
        calibrated, np.ones(sources, np.bool_), terms, target, 1, np.arange(30, dtype=np.int32)
    )


def trips() -> pl.DataFrame:
    """Two visits of one user a day apart, eight and two items, and one of another."""
    rows = [{"item_key": 100 + i, "time": NOW + timedelta(minutes=i), "order": i} for i in range(8)]
    rows += [
        {"item_key": 110 + i, "time": NOW + timedelta(days=1), "order": 8 + i} for i in range(2)
    ]
    rows += [{"user_id": "v", "item_key": 120, "time": NOW, "order": 0}]
    return events(rows)


CONFIG = Config(least_questions=20, passes=4, hidden=(8,), k=10)


def question(history: list[int], days_ago: list[float]):
    """A task of one user who had rows of the catalogue some days ago."""
    task = one_question(history, [3])
    now = 1e9
    times = now - DAY * np.array(days_ago)
    ones = np.ones(len(history), np.float32)
    return replace(
        task, history_time=times, now=np.array([now]), timed=True, history_weight=ones,
        exclude_seen=False,
    )  # fmt: skip


def tables(count: int, *, seed: int = 0, useful: str = "text.score") -> list[Table]:
    """Questions whose answer is the item that one feature puts first."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        features = rng.random((12, len(names(SOURCES)))).astype(np.float32)
        for source in SOURCES:
            features[:, names(SOURCES).index(f"{source}.named")] = 1
        best = named(features, useful).argmax()
        every = np.arange(12, dtype=np.int32)
        made.append(Table(f"u{number}", features, every == best, 1, every % 3))
    return made


def had(table: Table, times: list[int]) -> Table:
    """The same question where the visit holds some of the candidates already."""
    features = table.features.copy()
    features[:, names(SOURCES).index("times")] = times
    return replace(table, features=features)


def judged(network: Network, asked: list[Table]) -> float:
    return float(np.mean([ndcg(t, network.score(t.features), 10) for t in asked]))
