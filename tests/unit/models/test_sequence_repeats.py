"""Whether what a shopper had is copied follows from the events, where the preset leaves it open."""

import json

import polars as pl
import pytest

from artifacts import loader
from models.data.interactions import interactions
from models.progress import silent
from models.sequence.prepare import come_back
from models.sequence.train import PRESETS, train
from models.train import config_of
from tests.unit.models.test_sequence import catalogue, cycles, purchases

# Each buys three items of their own every day.
AGAIN = [[[1 + 3 * user + day % 3] for day in range(9)] for user in range(6)]


def test_shoppers_who_buy_again_are_told_from_those_who_do_not():
    items = catalogue(20).with_columns(item_key=pl.int_range(1, 21))
    assert come_back(interactions(items, purchases(AGAIN)))
    assert not come_back(interactions(items, cycles(users=20, length=15)))
    # What stands twice in one basket has not been come back for.
    assert not come_back(interactions(items, purchases([[[1, 1, 2, 2], [3, 4]]] * 3)))


@pytest.mark.parametrize(("events", "copied"), [(purchases(AGAIN), True), (cycles(10), False)])
def test_the_longest_training_copies_where_people_buy_again(events, copied, tmp_path):
    assert PRESETS["full"].repeats is None
    short = {"steps": 2, "evaluations": 1, "finishing_steps": 0, "width": 8, "blocks": 1}
    config = config_of("sequence", "full", 0, {**short, "negatives": 8})
    items = catalogue(20).with_columns(item_key=pl.int_range(1, 21))
    made = loader.load(train(config, items, events, tmp_path, silent)).manifest
    assert json.loads(made.training_config["repeats"]) is copied
