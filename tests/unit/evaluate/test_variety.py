"""Curves of accuracy for variety: every point is what the fusion ranks at its setting."""

from dataclasses import replace
from io import StringIO

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from artifacts.fusion import FusionSettings
from cli.evaluation.show import slices_table, variety_tables
from cli.evaluation.variety import MECHANISMS, Varied, changes, relevant, sweeps
from cli.offline import OfflineFusion
from cli.output import console
from models.data.interactions import TYPE_NUMBERS
from models.evaluate.bootstrap import Resampling
from models.evaluate.fused import rank_fused, shopper_of
from models.evaluate.judge import Measure
from models.evaluate.looks import make_looks
from models.evaluate.metrics import Keys
from models.evaluate.ranking import Asking, Lists
from models.evaluate.report import Point, Row, SliceResult, Sweep, Table
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


def table_of(*found: Sweep) -> Table:
    return Table(
        title="", unit="users", users=2, users_without_history=0, targets=2, catalogue=9,
        rows=(), differences=(), variety=found,
    )  # fmt: skip


def printed(part: Table) -> str:
    out = Console(width=80, file=StringIO())
    for what, made in variety_tables(part, "ndcg@10").items():
        out.print(what)
        out.print(made)
    assert isinstance(out.file, StringIO)
    return out.file.getvalue()


def test_at_80_columns_every_mechanism_has_its_name_and_its_figures_whole() -> None:
    names = ("ndcg", "coverage", "diversity", "novelty", "miscalibration", "gini")
    first, other = ({f"{n}@10": value for n in names} for value in (0.2345, 0.1234))
    points = (Point(0.0, first), Point(0.075, other, -0.1111, -0.1222, -0.1, -0.1234))
    text = printed(table_of(*(Sweep(m.name, m.what, 0.075, points) for m in MECHANISMS)))
    for mechanism in MECHANISMS:
        assert f"{mechanism.name}: {mechanism.what}" in text
    lines = [line.split() for line in text.splitlines() if line.strip().startswith("0.075")]
    assert lines == [
        ["0.075,", "served", ".1234", "-12.34%", "-0.1222", "to", "-0.1000", ".1234", ".1234"]
    ] * len(MECHANISMS)


def test_a_mechanism_that_changes_nothing_is_not_printed() -> None:
    metrics = {"ndcg@10": 0.2, "coverage@10": 0.5}
    idle = Sweep("provider_share", "", 1.0, (Point(1.0, metrics), Point(0.5, metrics)))
    moved = Point(0.5, {**metrics, "coverage@10": 0.6})
    text = printed(table_of(idle, Sweep("diversity", "", 0.0, (Point(0.0, metrics), moved))))
    assert "provider_share" not in text
    assert ".6000" in text


def test_brackets_in_the_name_of_a_market_or_a_row_are_no_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = {"[red]cf": {"ndcg@10": 0.5}}
    part = SliceResult("markets", "market eu[/de]", "", 2, 2, metrics, {"[red]cf": (0.4, 0.6)})
    row = Row("[red]cf", "model", {"ndcg@10": 0.5}, {"ndcg@10": (0.4, 0.6)})
    console().print(slices_table(replace(table_of(), rows=(row,), slices=(part,)), "ndcg@10"))
    shown = capsys.readouterr().out
    assert "market eu[/de]" in shown
    assert "[red]cf" in shown
