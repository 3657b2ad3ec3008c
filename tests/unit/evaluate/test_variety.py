"""Curves of accuracy for variety: every point is what the fusion ranks at its setting."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from artifacts.fusion import FusionSettings
from cli.evaluation.variety import MECHANISMS, Varied, changes, relevant, sweeps
from cli.offline import OfflineFusion
from models.data.interactions import TYPE_NUMBERS
from models.evaluate.bootstrap import Resampling
from models.evaluate.fused import rank_fused, shopper_of
from models.evaluate.judge import Measure
from models.evaluate.looks import make_looks
from models.evaluate.metrics import Keys
from models.evaluate.ranking import Asking, Lists
from models.evaluate.task import Task
from tests.unit.evaluate.builders import events, items, task_of
from tests.unit.fusion.test_artifact import artifact

KS, ITEMS, USERS = (2, 4), 24, 12
RNG = np.random.default_rng(3)
CATALOGUE = items(*((n + 1, f"D{n % 3}", f"C{n % 6}", f"P{n % 4}") for n in range(ITEMS)))
VECTORS = RNG.normal(size=(ITEMS, 3)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
LISTS = {"cf": Lists(np.stack([RNG.permutation(ITEMS) + 1 for _ in range(USERS)]),
                     np.tile(np.linspace(1, 0, ITEMS, dtype=np.float32), (USERS, 1)))}  # fmt: skip


def task() -> Task:
    users = [f"u{n}" for n in range(USERS)]
    histories = {user: [1 + n % 3, 4 + n % 3, 2] for n, user in enumerate(users)}
    return task_of(histories, {user: [n + 1, 24 - n] for n, user in enumerate(users)})


def fusion(settings: FusionSettings, catalogue: pl.DataFrame = CATALOGUE) -> OfflineFusion:
    made = artifact(
        item_keys=np.arange(1, ITEMS + 1), vectors=VECTORS, domain_names=("D0", "D1", "D2"),
        popularity=np.zeros(ITEMS, np.float32), domain_transition=np.zeros((3, 3), np.float32),
        domain_prior=np.full(3, 1 / 3, np.float32), weights={"HOME": {"cf": 1.0}},
        quantiles={}, settings=settings, surface_settings={},
    )  # fmt: skip
    return OfflineFusion(made, catalogue, lambda _market, _now: None, sources=("cf",))


def ranked(settings: FusionSettings) -> Keys:
    return rank_fused(fusion(settings), task(), LISTS, k=4, asking=Asking())


def every() -> Keys:
    varied = Varied(fusion(FusionSettings()))
    found = rank_fused(varied, task(), LISTS, k=4 * len(changes()), asking=Asking())
    return found.reshape(USERS, len(changes()), 4)


def test_each_part_is_what_the_fusion_serves_at_these_settings() -> None:
    parts = every()
    for number, change in enumerate(changes()):
        settings = replace(relevant(FusionSettings()), **change)  # type: ignore[arg-type]
        np.testing.assert_array_equal(parts[:, number], ranked(settings))
    assert len({part.tobytes() for part in parts.transpose(1, 0, 2)}) > len(MECHANISMS)


def test_curves_begin_at_the_most_relevant_order_and_are_compared_with_it() -> None:
    known, asked = events(*((f"u{n}", n + 1, 0) for n in range(USERS))), task()
    looks, by = make_looks(CATALOGUE, known), Measure(KS, "ndcg@4", Resampling(draws=200))
    parts = every()
    found = sweeps(parts.reshape(USERS, -1), asked, looks, by, FusionSettings(diversity=0.05))
    assert [sweep.mechanism for sweep in found] == [m.name for m in MECHANISMS]
    first = found[0].points[0].metrics
    for sweep, mechanism in zip(found, MECHANISMS, strict=True):
        assert [p.setting for p in sweep.points] == [mechanism.off, *mechanism.settings]
        assert sweep.points[0].metrics == first
        assert (sweep.points[0].difference, sweep.points[0].relative) == (0, 0)
        for point in sweep.points[1:]:
            gap = point.metrics["ndcg@4"] - first["ndcg@4"]
            assert point.difference == pytest.approx(gap)
            assert point.low - 1e-9 <= gap <= point.high + 1e-9
    assert found[0].served == 0.05
    last = {s.mechanism: s.points[-1].metrics for s in found}
    assert last["domain_calibration"]["miscalibration@4"] < first["miscalibration@4"]
    assert last["provider_share"]["gini@4"] <= first["gini@4"]


def test_what_a_shopper_liked_says_nothing_of_what_they_pay() -> None:
    """As in serving, only purchases do."""
    priced = CATALOGUE.with_columns(price=pl.col("item_key").cast(pl.Float64))
    told = task()
    one = told.history.lengths[0]
    fused = fusion(FusionSettings(w_cost_personal=1.0), priced)

    def weighed(kind: str) -> float:
        number = TYPE_NUMBERS[kind]
        asked = replace(told, history_type=np.full(len(told.history.keys), number, np.int64))
        keys = asked.history.keys[:one]
        shopper = shopper_of(asked, 0, LISTS, (keys, np.ones(one, np.float32)))
        query, _ = fused.scored(shopper, 4)
        return query.w_cost

    assert weighed("purchase") > 0
    assert weighed("like") == 0
