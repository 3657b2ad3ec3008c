"""The network of a ranker: it learns from questions, few or many, and can be repeated."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from artifacts.ranker.features import names
from models.fusion.network import _exported, _layers, _scores, subset, train_network
from models.progress import silent
from tests.unit.fusion.builders import SOURCES
from tests.unit.fusion.learning import CONFIG, had, judged, tables
from tests.unit.fusion.test_ranker import named


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
