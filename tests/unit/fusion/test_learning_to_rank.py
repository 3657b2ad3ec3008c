"""Training the ranker: serving's features, habits that are there, and no ranker without reason."""

import math
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from artifacts.fusion import CONVEX, NETWORK, FusionSettings
from artifacts.ranker.features import HABITS, names
from artifacts.ranker.network import Network
from gateway.fusion.calibrate import calibrate
from gateway.fusion.pipeline import SCORING, build_pool, run
from gateway.fusion.ranker import PoolRanker
from models.evaluate.metrics import Ragged
from models.evaluate.ranking import Asking, Lists
from models.fusion import ranker, rankers
from models.fusion.asked import moments, questions
from models.fusion.cases import Setting, build_cases
from models.fusion.catalogue import make_catalogue
from models.fusion.config import Config
from models.fusion.habits import item_habits
from models.fusion.network import _exported, _layers, _scores, subset, train_network
from models.fusion.ranker import Taught, _fresh, _summed, ndcg, with_ranker
from models.fusion.surfaces import begun_task, shopper_of, visits
from models.fusion.tables import Known, Table, tables_of
from models.fusion.train import Earlier, Window, before
from models.progress import silent
from tests.support.shop import shop as shop_of_tastes
from tests.unit.fusion.builders import SOURCES, columns, query
from tests.unit.fusion.test_artifact import artifact
from tests.unit.fusion.test_learning import NOW, catalogue, events, one_question
from tests.unit.fusion.test_ranker import learned, named, past, shelf

DAY = 86_400.0
ITEMS = pl.DataFrame(
    {
        "item_key": [101, 102, 103],
        "item_id": ["101", "102", "103"],
        "title": ["White bread", "Plain yogurt", "Fruit yogurt"],
        "category": ["BREAD", "YOGURT", "YOGURT"],
    }
)
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


def test_habits_say_who_comes_back_and_after_how_long() -> None:
    sold = [
        {"user_id": f"u{user}", "item_key": 101, "time": NOW + timedelta(days=7 * week)}
        for user in range(40) for week in range(5)
    ] + [{"user_id": f"u{user}", "item_key": 102, "time": NOW} for user in range(40)]  # fmt: skip
    habits = item_habits(catalogue(), events(sold))
    assert habits.shape == (40, len(HABITS))
    assert habits[1, 0] > 0.8 > 0.3 > habits[2, 0]
    assert np.exp(habits[1, 1]) == pytest.approx(7, rel=0.1)


def test_habits_say_what_sells_now() -> None:
    sold = [{"item_key": 101, "time": NOW + timedelta(days=day)} for day in range(0, 112, 4)]
    sold += [{"item_key": 102, "time": NOW + timedelta(days=100 + day)} for day in range(10)]
    found = dict(zip(HABITS, item_habits(catalogue(), events(sold)).T, strict=True))
    # Item 101: 28 purchases in 112 days, 7 of them in the last 28; item 102: 10 and 10.
    assert found["recent"][1:4] == pytest.approx([math.log1p(7), math.log1p(10), 0])
    season = [math.log(12 / 12), math.log(15 / 7.5), 0]
    assert found["season"][1:4] == pytest.approx(season, abs=1e-6)
    ages = [math.log1p(109), math.log1p(9), 0]
    assert found["first_sold"][1:4] == pytest.approx(ages, rel=1e-5)
    assert found["per_buyer"][1] > found["per_buyer"][2] > 0


def test_what_was_disliked_was_not_sold() -> None:
    sold = [{"user_id": f"u{user}", "item_key": 101, "time": NOW} for user in range(20)]
    disliked = [
        {"user_id": f"u{user}", "item_key": key, "type": "dislike", "time": NOW + timedelta(day)}
        for user in range(20) for key in (101, 102) for day in (1, 8)
    ]  # fmt: skip
    without = item_habits(catalogue(), events(sold))
    np.testing.assert_array_equal(item_habits(catalogue(), events(sold + disliked)), without)


def test_nothing_sold_has_usual_habits() -> None:
    habits = item_habits(catalogue(), events([]))
    assert np.isfinite(habits).all()
    assert np.exp(habits[:, 1]) == pytest.approx(np.full(40, 30.0))


def test_later_moments_know_what_came_before_them() -> None:
    known = events([{"user_id": "a", "item_key": 101}])
    wanted = events(
        [
            {"user_id": "a", "item_key": 102 + day, "time": NOW + timedelta(days=1 + day)}
            for day in range(10)
        ]
    )
    config = Config(moments=2, ranker_users=10)
    first, second = moments(config, Window(known, wanted), exclude_seen=False)
    assert first.history.keys.tolist() == [101]
    assert second.history.keys.tolist() == [101, 102, 103]
    assert second.now[0] > first.now[0]
    assert not set(second.history.keys.tolist()) & set(second.targets.keys.tolist())


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


def test_the_network_learns_what_puts_the_bought_first_and_can_be_repeated() -> None:
    learning, judging = tables(400), tables(60, seed=1)
    config = replace(CONFIG, passes=8)
    network = train_network(config, learning, len(SOURCES), silent)
    assert judged(network, judging) > 0.6  # by chance: 0.37
    again = train_network(config, learning, len(SOURCES), silent)
    np.testing.assert_array_equal(
        network.score(judging[0].features), again.score(judging[0].features)
    )


@pytest.mark.parametrize("questions", [1, 48])
def test_few_questions_teach_too(questions: int) -> None:
    network = train_network(replace(CONFIG, passes=3), tables(questions), len(SOURCES), silent)
    assert not network.problem(len(names(SOURCES)))


def test_what_never_differed_has_no_say_when_it_does() -> None:
    """A shop where nobody buys again: what was bought is no candidate until it serves."""
    asked = [had(table, [0] * 12) for table in tables(40)]
    network = train_network(CONFIG, asked, len(SOURCES), silent)
    bought = had(asked[0], [5] * 12).features
    np.testing.assert_array_equal(network.score(bought), network.score(asked[0].features))
    # That a source is gone, which all named in these questions, was shown in training.
    text = names(SOURCES).index("text.named")
    gone = asked[0].features.copy()
    gone[:, text] = 0
    assert (network.score(gone) != network.score(asked[0].features)).any()


def test_several_members_are_exported_as_the_network_of_their_mean() -> None:
    torch.manual_seed(5)
    layers = _layers(3, (7, 5, 4, 1))
    rows = np.random.default_rng(5).normal(size=(9, 7)).astype(np.float32)
    network = _exported(layers, np.zeros(7, np.float32), np.ones(7, np.float32))
    assert not network.problem(7)
    each = _scores(layers, torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(network.score(rows), each.mean(axis=0), rtol=1e-4, atol=1e-6)


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


def shop(days: int, *, each_day: int = 20) -> pl.DataFrame:
    return events(
        [
            {"user_id": f"u{number}", "item_key": 101, "time": NOW + timedelta(days=day)}
            for day in range(days)
            for number in range(each_day)
        ]
    )


def test_the_window_before_is_as_long_and_ends_where_the_held_out_one_begins() -> None:
    bought = shop(100)
    early = pl.col("time") < NOW + timedelta(days=90)
    window = Window(bought.filter(early), bought.filter(~early))
    then = before(CONFIG, window)
    assert then is not None
    assert then.wanted.height == window.wanted.height == 200
    assert then.wanted["time"].min() == NOW + timedelta(days=80)
    assert then.known.height == 1600


@pytest.mark.parametrize("why", ["switched off", "no ranker", "few shoppers", "no past", "untimed"])
def test_there_is_no_window_before_where_it_would_teach_nothing(why: str) -> None:
    bought = shop(100)
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


def test_a_question_without_a_source_has_neither_its_scores_nor_its_candidates() -> None:
    table = tables(1)[0]
    features = table.features.copy()
    times = names(SOURCES).index("times")
    features[:, times] = 0
    for source in SOURCES[1:]:
        features[4:, names(SOURCES).index(f"{source}.named")] = 0
    features[11, times] = 1
    fewer = subset(replace(table, features=features), np.array([False, True, True, True]))
    assert len(fewer.target) == 5
    assert not named(fewer.features, "cf.score").any()


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


def basket(*keys: int, user: str = "a") -> list[dict[str, object]]:
    return [{"user_id": user, "item_key": key, "order": at} for at, key in enumerate(keys)]


def test_a_visit_is_cut_after_one_to_five_events_that_compete_and_are_no_targets() -> None:
    bought = [row for user in range(60) for row in basket(*range(101, 109), user=f"u{user}")]
    asked = begun_task(visits(events(bought), "time", most=60, seed=0), 0)
    assert not asked.exclude_seen
    told = asked.history.lengths
    assert set(told.tolist()) == {1, 2, 3, 4, 5}
    assert (told + asked.targets.lengths == 8).all()
    firsts = asked.history.keys[asked.history.starts[:-1]]
    # The lines of a basket have no order: their number says nothing.
    assert len(set(firsts.tolist())) > 4
    again = begun_task(visits(events(bought), "time", most=60, seed=0), 0)
    np.testing.assert_array_equal(asked.history.keys, again.history.keys)


def test_a_short_visit_keeps_something_to_look_for() -> None:
    bought = [row for user in range(20) for row in basket(101, 102, user=f"u{user}")]
    asked = begun_task(visits(events(bought), "time", most=20, seed=0), 0)
    assert asked.history.lengths.tolist() == asked.targets.lengths.tolist() == [1] * 20


@pytest.mark.parametrize("surface", ["SESSION", "CART", "SEARCH"])
def test_without_visits_there_are_no_questions(surface: str) -> None:
    nothing = events(basket(101)).clear()
    window = Window(events(basket(101)), nothing)
    assert not questions(CONFIG, surface, window, ITEMS, exclude_seen=False)


def test_searches_are_made_up_for_shoppers_who_are_known_and_for_strangers() -> None:
    known = events([row for user in range(9) for row in basket(101, user=f"a#{user}")])
    wanted = events([row for user in range(9) for row in basket(102, 103, user=f"a#{user}")])
    config = replace(CONFIG, ranker_visits=12)
    mine, strangers = questions(config, "SEARCH", Window(known, wanted), ITEMS, exclude_seen=False)
    assert len(mine.texts) == len(mine.task.user_ids) == 12
    assert len(strangers.texts) == len(strangers.task.user_ids) == 4
    assert mine.task.history.lengths.tolist() == [1] * 12
    assert strangers.task.history.lengths.tolist() == [0] * 4
    assert strangers.task.targets.lengths.tolist() == [1] * 4
    # Whose search it was: a shopper judges the ranker or teaches it, never both.
    assert {shopper_of(name) for name in mine.task.user_ids} <= {f"a#{user}" for user in range(9)}
    assert "yogurt" in mine.texts


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
    items, bought = shop_of_tastes(users=20)
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
