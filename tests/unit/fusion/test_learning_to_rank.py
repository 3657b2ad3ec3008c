"""Training the ranker: serving's features, habits that are there, and no ranker without reason."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from artifacts.fusion import CONVEX, NETWORK, FusionSettings
from artifacts.ranker.features import HABITS, names
from gateway.fusion.calibrate import calibrate
from gateway.fusion.pipeline import SCORING, build_pool, run
from gateway.fusion.ranker import PoolRanker
from models.evaluate.metrics import Ragged
from models.evaluate.ranking import Asking, Lists
from models.fusion import ranker, rankers
from models.fusion.cases import Setting, build_cases
from models.fusion.catalogue import make_catalogue
from models.fusion.config import Window
from models.fusion.ranker import Taught, _fresh, _summed, with_ranker
from models.fusion.tables import Known, tables_of
from models.fusion.train import Earlier, before
from models.progress import silent
from tests.support.shop import shop
from tests.unit.fusion.builders import SOURCES, columns, query
from tests.unit.fusion.learning import CONFIG, NOW, catalogue, events, had, question, tables
from tests.unit.fusion.test_artifact import artifact
from tests.unit.fusion.test_ranker import learned, past, shelf


def test_training_and_serving_see_the_same_table() -> None:
    task = question([1, 2, 1, 5], [90.0, 30.0, 9.0, 0.5])
    keys = columns().keys
    answers = {"cf": ([3, 1, 7], [3.0, 2.0, 1.0]), "text": ([2, 3], [0.5, 0.1])}
    lists = {
        source: Lists(keys[np.array([found])], np.array([scores], np.float32))
        for source, (found, scores) in answers.items()
    }
    transition = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    setting = Setting(catalogue(), {}, Asking(half_life_days=0), transition)
    ranker = learned(sources=("cf", "text"))
    known = Known(setting, shelf(), ranker.habits)
    (table,) = tables_of(task, lists, known, setting.asking)
    asked = query(
        sources=("text", "cf"),
        history=np.array([1, 2, 1, 5], np.int32),
        history_weight=np.ones(4, np.float32),
        past=past((1, 90.0), (2, 30.0), (1, 9.0), (5, 0.5)),
        domain_transition=transition,
    )
    found = {
        source: (np.array(rows, np.int32), np.array(scores, np.float32))
        for source, (rows, scores) in answers.items()
    }
    pool = calibrate(asked, build_pool(asked, found, np.array([1, 2, 5], np.int32)))
    served = PoolRanker(ranker)._table(asked, pool, None)
    np.testing.assert_allclose(table.features, served, rtol=1e-5, atol=1e-6)
    assert table.target.tolist() == (pool.rows == 3).tolist()


def test_what_a_shopper_dislikes_is_no_candidate_and_sets_no_scale() -> None:
    task, keys = question([1, 2, 1, 5], [90.0, 30.0, 9.0, 0.5]), columns().keys
    scores = np.array([[9.0, 3.0, 2.0, 1.0]], np.float32)
    lists = {"cf": Lists(keys[np.array([[4, 3, 1, 7]])], scores)}
    setting = Setting(catalogue(), {}, Asking(), np.zeros((3, 3), np.float32))
    known = Known(setting, shelf(), learned().habits, own=False)
    disliked = Ragged(keys[[4]], np.array([0, 1]))
    (table,) = tables_of(replace(task, disliked=disliked), lists, known, setting.asking)
    assert table.rows.tolist() == [1, 3, 7]
    of = dict(zip(names(["cf"]), table.features.T, strict=True))
    assert of["cf.score"].tolist() == [0.5, 1, 0]
    # It was named all the same: the others stand behind it.
    assert of["cf.rank"].max() < 1
    (case,) = build_cases(replace(task, disliked=disliked), lists, ["cf"], setting)
    assert case.calibrated.tolist() == [[0.5, 1, 0]]


@pytest.mark.parametrize("surface", ["HOME", "SEARCH"])
def test_a_ranker_is_compared_with_the_weighted_sum_that_serves(surface: str) -> None:
    """Of the sources that answered, and on SEARCH without the term of other domains."""
    task = question([1, 2, 1, 5], [90.0, 30.0, 9.0, 0.5])
    keys = columns().keys
    answers = {"cf": ([3, 1, 7], [3.0, 2.0, 1.0]), "text": ([2, 3], [0.5, 0.1])}
    silent_one = Lists(np.zeros((1, 1), np.int64), np.full((1, 1), np.nan, np.float32))
    lists = dict.fromkeys(SOURCES, silent_one) | {
        source: Lists(keys[np.array([found])], np.array([scores], np.float32))
        for source, (found, scores) in answers.items()
    }
    rng = np.random.default_rng(0)
    transition = rng.normal(size=(3, 3)).astype(np.float32)
    trend = rng.random(len(keys)).astype(np.float32)
    setting = Setting(
        catalogue(), {}, Asking(half_life_days=0), transition, trends=lambda _market, _now: trend
    )
    weights = {"cf": 0.1, "content": 0.5, "sequence": 0.2, "text": 0.2}
    plain = artifact(
        weights={surface: weights}, settings=FusionSettings(w_trend=0.3, w_cross_domain=0.2)
    )
    known = Known(setting, shelf(), learned().habits, own=False)
    (table,) = tables_of(task, lists, known, setting.asking)
    asked = query(
        surface=surface,
        history=np.array([1, 2, 1, 5], np.int32),
        history_weight=np.ones(4, np.float32),
        domain_transition=transition,
        trend=trend,
        weights=weights,
        w_trend=0.3,
        w_cross_domain=0.2,
    )
    found = {
        source: (np.array(rows, np.int32), np.array(scores, np.float32))
        for source, (rows, scores) in answers.items()
    }
    # Popular items, which join where few were found, are nobody's candidates in a question.
    served = run(asked, build_pool(asked._replace(limit=1), found), stages=SCORING)
    np.testing.assert_allclose(_summed(plain, surface, SOURCES, table), served.total, rtol=1e-5)


def test_what_was_asked_earlier_teaches_and_does_not_judge() -> None:
    config = replace(CONFIG, passes=8, least_questions=20)
    habits = np.zeros((3, len(HABITS)), np.float32)
    plain = replace(artifact(), weights={"HOME": {"cf": 1.0}}, settings=FusionSettings())
    _, alone = with_ranker(config, plain, Taught(tables(60), SOURCES, habits), silent)
    more = Taught(tables(60), SOURCES, habits, tables(300, seed=1))
    _, both = with_ranker(config, plain, more, silent)
    assert both["HOME.ranker.questions"] > alone["HOME.ranker.questions"] + 200
    assert both["HOME.ranker.convex.ndcg@10"] == alone["HOME.ranker.convex.ndcg@10"]
    assert both["HOME.ranker.ndcg@10"] > alone["HOME.ranker.ndcg@10"]


def open_for(days: int, *, each_day: int = 20) -> pl.DataFrame:
    return events(
        [
            {"user_id": f"u{number}", "item_key": 101, "time": NOW + timedelta(days=day)}
            for day in range(days)
            for number in range(each_day)
        ]
    )


def test_the_window_before_is_as_long_and_ends_where_the_held_out_one_begins() -> None:
    bought = open_for(100)
    early = pl.col("time") < NOW + timedelta(days=90)
    window = Window(bought.filter(early), bought.filter(~early))
    then = before(CONFIG, window)
    assert then is not None
    assert then.wanted.height == window.wanted.height == 200
    assert then.wanted["time"].min() == NOW + timedelta(days=80)
    assert then.known.height == 1600


@pytest.mark.parametrize("why", ["switched off", "no ranker", "few shoppers", "no past", "untimed"])
def test_there_is_no_window_before_where_it_would_teach_nothing(why: str) -> None:
    bought = open_for(100)
    if why == "untimed":
        bought = bought.with_columns(time=pl.lit(None, bought.schema["time"]))
    known, wanted = bought.head(600 if why == "no past" else 1800), bought.tail(400)
    changed = {
        "switched off": {"earlier": False},
        "no ranker": {"ranker": False},
        "few shoppers": {"least_questions": 61},
    }
    config = replace(CONFIG, **changed.get(why, {}))  # type: ignore[arg-type]
    assert before(config, Window(known, wanted)) is None


def test_a_ranker_that_is_better_is_kept_and_one_that_is_not_is_not() -> None:
    weights = {"HOME": {"cf": 1.0, "content": 0.0, "sequence": 0.0, "text": 0.0}}
    plain = artifact(weights=weights, settings=FusionSettings(w_trend=0, w_cross_domain=0))
    habits = np.zeros((3, len(HABITS)), np.float32)
    config = replace(CONFIG, passes=8)
    better, metrics = with_ranker(config, plain, Taught(tables(300), SOURCES, habits), silent)
    assert better.settings.ranker == NETWORK
    assert [*better.rankers] == ["HOME"]
    # Its scores lie otherwise apart than the sum's: what variety it affords is its own.
    afforded = better.surface_settings["HOME"]["diversity"]
    assert afforded == better.settings_for("HOME").diversity
    assert afforded == metrics["HOME.ranker.diversity"]
    assert metrics["HOME.ranker.ndcg@10"] > metrics["HOME.ranker.convex.ndcg@10"]
    # They are few: everybody judges a network of the others' questions.
    assert metrics["HOME.ranker.judged"] == metrics["HOME.ranker.questions"] == 300
    hopeless = replace(config, passes=1)
    known = tables(30, useful="cf.score")
    same, metrics = with_ranker(hopeless, plain, Taught(known, SOURCES, habits), silent)
    assert same.settings.ranker == CONVEX
    assert metrics["HOME.ranker.convex.ndcg@10"] == pytest.approx(1)


def test_where_many_judge_a_share_of_the_shoppers_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranker, "_ENOUGH", 20)
    weights = {"HOME": {"cf": 1.0, "content": 0.0, "sequence": 0.0, "text": 0.0}}
    plain = artifact(weights=weights, settings=FusionSettings(w_trend=0, w_cross_domain=0))
    habits = np.zeros((3, len(HABITS)), np.float32)
    asked = Taught(tables(300), SOURCES, habits)
    _, metrics = with_ranker(replace(CONFIG, passes=1), plain, asked, silent)
    assert 20 <= metrics["HOME.ranker.judged"] < 100


def test_another_surface_gets_a_ranker_beside_the_first() -> None:
    sources = {"cf": 1.0, "content": 0.0, "sequence": 0.0, "text": 0.0}
    plain = artifact(
        weights={"HOME": sources, "SESSION": sources},
        settings=FusionSettings(w_trend=0, w_cross_domain=0),
    )
    habits = np.zeros((3, len(HABITS)), np.float32)
    config = replace(CONFIG, passes=8)
    home, _ = with_ranker(config, plain, Taught(tables(300), SOURCES, habits), silent)
    new = [had(table, [0] * 12) for table in tables(300, seed=2)]
    asked = Taught(new, SOURCES, habits, surface="SESSION")
    both, metrics = with_ranker(config, home, asked, silent)
    assert both.rankers["HOME"] is home.rankers["HOME"]
    assert both.ranker_for("SESSION") is not None
    assert metrics["SESSION.ranker.ndcg@10"] > metrics["SESSION.ranker.convex.ndcg@10"]
    assert both.surface_settings["HOME"] == home.surface_settings["HOME"]


def test_what_a_visit_held_already_does_not_judge() -> None:
    """The best way to win would be to put it last, which the weighted sum cannot."""
    (table,) = tables(1)
    fresh = _fresh(had(table, [0, 1] * 6), SOURCES)
    assert fresh.rows.tolist() == table.rows[::2].tolist()
    assert len(fresh.target) == len(fresh.features) == 6


def test_too_few_questions_leave_the_weighted_sum() -> None:
    plain = artifact()
    few, metrics = with_ranker(
        CONFIG, plain, Taught(tables(5), SOURCES, np.zeros((3, len(HABITS)), np.float32)), silent
    )
    assert few is plain
    assert metrics == {"HOME.ranker.questions": 5}


def engine(source: str, *reads: str):
    """A source that is never asked anything."""
    inputs = [SimpleNamespace(name=name) for name in reads]
    return SimpleNamespace(
        manifest=SimpleNamespace(source=source, inputs=inputs, score_quantiles=[])
    )


def taught(engines, earlier, monkeypatch: pytest.MonkeyPatch):
    """Return the lessons of each surface, of the held-out window and of the one before."""
    found = {}

    def noted(_config, lessons, _habits, learned_so_far, _progress):
        found[lessons[0].surface] = lessons
        return learned_so_far, {}

    monkeypatch.setattr(rankers, "learn_ranker", noted)
    items, bought = shop(users=20)
    moments_of = bought["time"].sort()
    first, second = moments_of[200], moments_of[300]
    window = Window(
        bought.filter(pl.col("time") < second),
        bought.filter(pl.col("time") >= second),
        Earlier(
            Window(
                bought.filter(pl.col("time") < first),
                bought.filter(pl.col("time").is_between(first, second, closed="left")),
            ),
            earlier,
        ),
    )
    stock = make_catalogue(items, np.zeros((items.height, 0), np.float32))
    setting = rankers.setting_of(CONFIG, stock, engines, window, ordered=True)
    dataset: Any = SimpleNamespace(items=items, events=bought)
    given = artifact(), setting, window, None
    rankers.learn_rankers(CONFIG, dataset, engines, given, silent)
    return found


def test_questions_of_both_windows_have_their_sources_in_one_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features are columns: another order of the sources is another meaning of each."""
    engines = {source: engine(source, "history") for source in SOURCES}
    backwards = dict(reversed(engines.items()))
    lessons = taught(engines, backwards, monkeypatch)
    assert [*lessons] == ["HOME", "SESSION", "CART", "SEARCH"]
    for held_out, earlier in lessons.values():
        assert [*held_out.engines] == [*earlier.engines] == [*SOURCES]


def test_a_text_source_alone_that_reads_no_histories_teaches_searches_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = {"text": engine("text", "query")}
    assert [*taught(alone, alone, monkeypatch)] == ["SEARCH"]
