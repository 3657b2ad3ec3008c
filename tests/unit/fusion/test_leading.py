"""What sells most just now is a candidate whoever names it."""

from dataclasses import replace

import numpy as np

from artifacts.ranker.features import names
from artifacts.ranker.shelf import LEADING, leading
from gateway.fusion.pipeline import build_pool, run
from gateway.fusion.types import NORMAL
from gateway.trends import Trends
from gateway.types import EventType
from models.evaluate.ranking import Asking, Lists
from models.fusion.cases import Setting, build_cases
from models.fusion.network import subset
from models.fusion.tables import Known, tables_of
from tests.unit.fusion.builders import SOURCES, columns, query, rows, scored
from tests.unit.fusion.learning import catalogue, one_question, tables
from tests.unit.fusion.test_ranker import large, learned, shelf, with_ranker


def test_the_leading_are_those_that_sell_most_greatest_first_and_of_equals_the_first() -> None:
    trend = np.zeros(200, np.float32)
    trend[100:180] = 0.5
    trend[[7, 3]] = 1.0, 0.7
    found = leading(trend)
    assert len(found) == LEADING
    assert found[:4].tolist() == [7, 3, 100, 101]
    assert found[-1] == 100 + LEADING - 3
    assert leading(np.zeros(9, np.float32)).tolist() == []


def test_a_market_knows_its_leading_items_of_the_last_minute() -> None:
    now = 1_700_000_000_000
    trends = Trends(3.0, 8, now)
    for row in range(120):
        trends.add("north", row, EventType.PURCHASE, 1.0 + row % 4, now - 1_000 * row)
    expected = leading(trends.now("north", 300, now)[np.arange(300)])
    assert trends.leading("north", now).tolist() == expected.tolist()
    for _ in range(9):
        trends.add("south", 200, EventType.PURCHASE, 5.0, now)
    assert 200 not in trends.leading("north", now + 90_000)
    assert trends.leading("south", now + 90_000).tolist() == [200]
    # Of a market that nobody has bought in, what sells anywhere.
    assert trends.leading("west", now + 90_000)[0] == 200


def test_the_trend_alone_may_bring_an_item_that_no_model_names_to_the_top() -> None:
    trend = np.zeros(9, np.float32)
    trend[6] = 1.0
    asked = query(trend=trend, leading=rows(6), limit=3)
    found = scored(cf={1: 1.0, 2: 0.4, 3: 0.2})
    for weight, shown in ((1.2, [6, 1, 2, 3]), (0.0, [1, 2, 3, 6])):
        told = asked._replace(w_trend=weight, weights={"cf": 0.8})
        pool = run(told, build_pool(told, found, told.leading))
        assert pool.rows[pool.order].tolist() == shown
        assert (pool.tier[pool.order] == NORMAL).all()


def test_a_ranker_looks_at_what_sells_though_no_model_names_it() -> None:
    asked, found = large()
    asked = with_ranker(asked, learned(asked.columns.keys))
    named = np.concatenate([found[s][0] for s in found])
    other = np.setdiff1d(np.arange(len(asked.columns.keys), dtype=np.int32), named)[:3]
    asked = asked._replace(leading=other)
    pool = run(asked, build_pool(asked, found, other))
    assert pool.learned
    at = np.searchsorted(pool.rows, other)
    assert (pool.tier[at] == NORMAL).all()
    # As it would have been ranked in a pool of any size.
    assert asked.ranker is not None
    table = asked.ranker._table(asked, pool, None)  # type: ignore[attr-defined]
    whole = learned(asked.columns.keys).preference(table)
    np.testing.assert_allclose(pool.terms["fused"][at], whole[at], atol=1e-6)


def test_training_asks_about_what_sells_whatever_the_sources_name() -> None:
    task, keys = one_question([1, 2], [5]), columns().keys
    found = Lists(keys[np.array([[3, 1, 7]])], np.array([[3.0, 2.0, 1.0]], np.float32))
    lists = dict.fromkeys(SOURCES, found)
    setting = Setting(catalogue(), {}, Asking(), np.zeros((3, 3), np.float32))
    trend = np.zeros(len(setting.catalogue.keys), np.float32)
    trend[[5, 6]] = 1.0, 0.5
    leads = replace(setting, leads=True, trends=lambda _market, _now: trend)
    (case,) = build_cases(task, lists, SOURCES, leads)
    assert {5, 6} <= set(case.rows.tolist())
    assert not case.calibrated[:, np.isin(case.rows, [5, 6])].any()
    known = Known(leads, shelf(), learned().habits)
    (table,) = tables_of(task, lists, known, leads.asking)
    assert table.leading is not None
    assert table.rows[table.leading].tolist() == [5, 6]


def test_a_question_without_a_source_keeps_what_sells() -> None:
    (table,) = tables(1)
    held = np.arange(12) % 4 == 0
    table = replace(table, leading=held)
    table.features[:, names(SOURCES).index("times")] = 0
    kept = subset(table, np.zeros(len(SOURCES), np.bool_))
    assert kept.rows.tolist() == table.rows[held].tolist()
