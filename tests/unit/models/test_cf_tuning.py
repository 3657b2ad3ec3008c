"""What settings of cf are judged by: what is new where enough is, else all that came next."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.cf.model import Floats
from models.cf.tune import Judges, tune
from models.progress import silent

USERS, ITEMS = 60, 12
OFTEN, LATELY, NEW = 0, 1, ITEMS - 1


def matrix(columns: dict[int, float], users: int = USERS) -> sparse.csr_matrix:
    """Return a matrix of so many rows, each with these values."""
    found = np.zeros((users, ITEMS), np.float32)
    for column, value in columns.items():
        found[:, column] = value
    return sparse.csr_matrix(found)


@dataclass(frozen=True)
class Sayings:
    """A model that says `scores` of the items, and NEW where LATELY counts more than OFTEN."""

    scores: Floats

    def predict(self, histories: sparse.csr_matrix) -> Floats:
        dense = histories.toarray()
        said = np.repeat(self.scores[None], len(dense), axis=0)
        said[dense[:, LATELY] > dense[:, OFTEN], NEW] += 1
        return said


def test_where_people_buy_again_one_who_does_not_decides_nothing():
    """By how late things were bought, the one new item is found, and what is bought most not."""
    one = sparse.vstack([matrix({NEW: 1}, 1), matrix({}, USERS - 1)]).tocsr()
    following = sparse.csr_matrix(matrix({OFTEN: 1}) + one)
    histories = {0.0: matrix({OFTEN: 2, LATELY: 1}), 1.0: matrix({OFTEN: 0.5, LATELY: 1})}
    judged = Judges(histories, matrix({OFTEN: 1, LATELY: 1}), one, following)
    fit = Sayings(np.zeros(ITEMS, np.float32))
    choice, _ = tune(lambda _: fit, ({"regularisation": 1.0},), matrix({OFTEN: 1}), judged, silent)
    assert choice.recency_exponent == 0.0
    assert choice.next_ndcg > 0.9


def test_popularity_counts_as_little_as_what_is_wanted_says():
    """Eight times as popular and twice the score: a discount of .2 is too little, .4 enough."""
    popular, rare = 3, 4
    x = sparse.vstack([matrix({popular: 1}, 8), matrix({rare: 1}, 1)]).tocsr()
    judged = Judges(
        {0.0: matrix({OFTEN: 1})}, matrix({OFTEN: 1}), matrix({rare: 1}), matrix({rare: 1})
    )
    scores = np.zeros(ITEMS, np.float32)
    scores[[popular, rare]] = 1.0, 0.5
    fit = Sayings(scores)
    choice, _ = tune(lambda _: fit, ({"regularisation": 1.0},), x, judged, silent)
    assert choice.popularity_discount == 0.4
    assert choice.new_ndcg == 1.0
