"""Where one thing leads to the next the sequence model learns what comes soon, else what comes."""

import numpy as np
import polars as pl
import pytest

from artifacts import loader
from models.data.errors import OptionError
from models.data.interactions import interactions
from models.options import with_options
from models.progress import silent
from models.sequence.config import PRESETS, Config, fixed
from models.sequence.order import NEAR, nearness
from models.sequence.prepare import Windows, distances, epoch
from models.sequence.train import train
from models.validation import hold_out, tasks
from tests.unit.models.test_sequence import catalogue, purchases, question

ITEMS = catalogue(60).with_columns(item_key=pl.int_range(1, 61))


def chains() -> pl.DataFrame:
    """From each item to the next of 60, or one time in five to any."""
    random = np.random.default_rng(0)
    histories = []
    for _ in range(200):
        at, walk = int(random.integers(60)), []
        for _ in range(int(random.integers(30, 60))):
            walk.append([1 + at])
            at = (at + 1) % 60 if random.random() < 0.8 else int(random.integers(60))
        histories.append(walk)
    return purchases(histories)


def tastes(*, again: bool) -> pl.DataFrame:
    """Everyone buys of six kinds one, in any order, or of all things the same four."""
    random = np.random.default_rng(0)
    histories = []
    for user in range(200):
        kind = random.permutation(np.arange(1 + user % 6, 61, 6))
        if again:
            own = random.choice(60, 4, replace=False) + 1
            kind = np.concatenate([random.permutation(own) for _ in range(5)])
        histories.append([[int(item)] for item in kind])
    return purchases(histories)


def chosen(events: pl.DataFrame) -> float:
    held = hold_out(events)
    known = interactions(ITEMS, held.known, min_item_events=0)
    judges = tasks(held, users=200, seed=0)
    return nearness(known, judges, 40, items=ITEMS.height, seed=0)


def test_order_is_told_from_taste():
    assert chosen(chains()) == NEAR
    assert chosen(tastes(again=False)) == 0
    assert chosen(tastes(again=True)) == 0


def test_a_horizon_of_one_and_nothing_held_out_choose_nothing():
    events = chains()
    held = hold_out(events)
    known = interactions(ITEMS, held.known, min_item_events=0)
    judges = tasks(held, users=20, seed=0)
    assert nearness(known, judges, 1, items=60, seed=0) == 0
    nobody = tasks(hold_out(events.clear()), users=20, seed=0)
    assert nearness(known, nobody, 40, items=60, seed=0) == 0


def test_near_events_are_drawn_more_often():
    random = np.random.default_rng(0)
    drawn = distances(np.full(20_000, 40), 1.5, random)
    count = np.bincount(drawn, minlength=41)
    assert count[0] == 0 and drawn.max() <= 40
    assert count[3] / count[1] == pytest.approx(3**-1.5, abs=0.03)
    assert (distances(np.array([1, 2, 3] * 100), 0.0, random) <= np.array([1, 2, 3] * 100)).all()
    data = interactions(ITEMS, chains())
    windows = Windows(batch=16, length=30, places=8, targets=10, horizon=40, nearness=1.5)
    for batch in epoch(data, windows, random):
        history, places = batch.history.numpy(), batch.places.numpy()
        last = np.take_along_axis(history, places, axis=1)[:, :, None]
        ahead = (batch.targets.numpy() - last) % 60
        known = (batch.targets.numpy() > 0) & (last > 0)
        assert np.median(ahead[known]) < 10
        break


def test_a_demo_on_chains_names_the_very_next_first(tmp_path):
    config = Config(
        width=32, blocks=1, max_history=30, batch=16, steps=120, evaluations=1, negatives=0,
        finishing_steps=0, learning_rate=1e-2,
    )  # fmt: skip
    assert PRESETS["demo"].nearness is None
    made = loader.load(train(config, ITEMS, chains(), tmp_path, silent))
    assert made.manifest.metrics["nearness"] == NEAR
    assert fixed(config, made.manifest.metrics).nearness == NEAR
    first = []
    for start in range(60):
        history = [1 + (start + step) % 60 for step in range(6)]
        keys = made.run(question(history)).item_keys
        assert keys is not None
        first.append(int(keys[0, 0]) == 1 + (start + 6) % 60)
    assert np.mean(first) > 0.9


def test_it_can_be_set():
    config = PRESETS["demo"]
    assert with_options(config, "sequence", {"nearness": "1"}).nearness == 1.0
    assert with_options(config, "sequence", {"nearness": "null"}).nearness is None
    assert with_options(with_options(config, "s", {"nearness": 2}), "s", {"nearness": None})
    for wrong in ("true", "near", "-1", "[1]"):
        with pytest.raises(OptionError, match="nearness"):
            with_options(config, "sequence", {"nearness": wrong})
