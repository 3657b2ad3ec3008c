"""The replay shows every arm the same shoppers, and tells what the weights did."""

import xml.etree.ElementTree as ET

import numpy as np

from benchmarks.online import arms_of, summary
from benchmarks.online_pictures import pictures
from benchmarks.replay import World, fixed, replay
from gateway.fusion.adapt import Pace
from models.fusion.cases import TERMS, Case

SOURCES, CANDIDATES, WANTED = ("good", "poor"), 60, 3
PACE = Pace(0.1, 1.0)


def case(rng: np.random.Generator, *, ill: bool) -> Case:
    """The good source tells the targets from the rest, unless it is ill."""
    target = np.arange(CANDIDATES) < WANTED
    noise = rng.random((2, CANDIDATES), np.float32)
    noise[0] = 0.6 * noise[0] + (0 if ill else 0.4 * target)
    noise[1] = 0.85 * noise[1] + 0.15 * target
    return Case(noise, np.ones(2, np.bool_), np.zeros((len(TERMS), CANDIDATES), np.float32),
                target, WANTED, np.arange(CANDIDATES, dtype=np.int32))  # fmt: skip


def world(visits: int = 600) -> World:
    well, ill = np.random.default_rng(0), np.random.default_rng(1)
    return World(
        SOURCES,
        [case(well, ill=False) for _ in range(visits)],
        [case(ill, ill=True) for _ in range(visits)],
        np.zeros(len(TERMS), np.float32),
    )


def test_adapted_weights_find_the_good_source_and_leave_it_when_it_turns_bad() -> None:
    given = world()
    learned = np.array([0.8, 0.2])
    arms = arms_of(learned, given, "good", PACE, 8.0)
    told = {a.name: replay(given, a, ill_from=0.5, examination=1.0, seed=0) for a in arms}
    found = summary(told, SOURCES)
    turned, stayed = found["turned, adapted"], found["turned, fixed"]
    assert turned["parts"][1] > stayed["parts"][1]
    learned_adapted = found["learned, adapted"]
    assert learned_adapted["last_minus_fixed"][0] > 0
    assert learned_adapted["weights"]["good"] < 0.5
    assert sorted(pictures({"well": told, "ill": told}, SOURCES)) == [
        "online-ill-ndcg.svg", "online-ill-weights.svg",
        "online-well-ndcg.svg", "online-well-weights.svg",
    ]  # fmt: skip
    for text in pictures({"well": told, "ill": told}, SOURCES).values():
        assert ET.fromstring(text).tag.endswith("svg")


def test_fixed_weights_stay_and_the_same_seed_shows_the_same() -> None:
    given = world(50)
    arm = fixed(arms_of(np.array([0.8, 0.2]), given, "good", PACE, 8.0)[1])
    once, again = (replay(given, arm, examination=1.0, seed=3) for _ in range(2))
    np.testing.assert_array_equal(once.ndcg, again.ndcg)
    assert once.clicks == again.clicks > 0
    assert np.ptp(once.weights, axis=0).max() == 0


def test_a_few_visits_are_drawn_one_by_one() -> None:
    given = world(12)
    arms = arms_of(np.array([0.8, 0.2]), given, "good", PACE, 8.0)
    told = {a.name: replay(given, a, examination=1.0, seed=0) for a in arms}
    drawn = pictures({"well": told}, SOURCES)["online-well-ndcg.svg"]
    assert "nan" not in drawn
