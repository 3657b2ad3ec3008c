"""How much variety a surface can afford, learned from held-out questions.

The one idea: variety is worth what it costs. What a step of the setting does depends on
how far scores lie apart, and a learned ranker spreads them otherwise than a weighted
sum; so not the setting is fixed but its price: the largest that costs at most so much
NDCG, with 95 % confidence, on questions the scores were not learned from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from artifacts.formulas import Floats, Rows
from artifacts.slate import Variety, choose
from models.evaluate.metrics import Bools, Doubles

# Tried in this order, until one costs too much.
DIVERSITIES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
# NDCG is taken at the main metric's places: further down variety costs less.
PLACES = 10
# Candidates among which serving chooses: twice its careful places.
_HEAD = 80
# One-sided 95 % of the normal distribution.
_SURE = 1.645


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Candidates of one question with their final scores: P of them."""

    user: str
    scores: Floats  # [P]
    rows: Rows  # of the item vectors [P]
    target: Bools  # [P]
    wanted: int  # targets, among the candidates or not


@dataclass(frozen=True, slots=True)
class Afforded:
    """What was chosen, and its price."""

    diversity: float
    cost: float  # share of NDCG that it takes
    most: float  # and what that may be at most, with 95 % confidence

    def metrics(self, where: str) -> dict[str, float]:
        """Return it as metrics of the manifest."""
        return {
            f"{where}.diversity": self.diversity,
            f"{where}.diversity.cost": self.cost,
            f"{where}.diversity.cost.most": self.most,
        }


def with_diversity(
    settings: Mapping[str, Mapping[str, float]], surface: str, afforded: Afforded
) -> dict[str, Mapping[str, float]]:
    """Return settings by surface with what one of them affords."""
    own = {**settings.get(surface, {}), "diversity": afforded.diversity}
    return {**settings, surface: own}


def afford(questions: Sequence[Question], vectors: Floats, most: float) -> Afforded:
    """Return the largest diversity whose cost is surely at most the share `most` of NDCG.

    vectors: unit or zero rows [n, d]. Questions of one user count together; fewer than
    two users say nothing, and afford nothing.
    """
    users = sorted({question.user for question in questions})
    afforded = Afforded(0.0, 0.0, 0.0)
    if len(users) < 2 or not vectors.shape[1]:
        return afforded
    place = {user: number for number, user in enumerate(users)}
    user = np.array([place[question.user] for question in questions])
    plain = _by_user(questions, vectors, user, 0.0)
    if not plain.mean() > 0:
        return afforded
    for diversity in DIVERSITIES:
        lost = (plain - _by_user(questions, vectors, user, diversity)) / plain.mean()
        cost = float(lost.mean())
        bound = cost + _SURE * float(lost.std(ddof=1)) / np.sqrt(len(users))
        if bound > most:
            break
        afforded = Afforded(diversity, cost, bound)
    return afforded


def _by_user(
    questions: Sequence[Question], vectors: Floats, user: np.ndarray, diversity: float
) -> Doubles:
    """Return each user's mean NDCG [U]."""
    values = np.array([_ndcg(question, vectors, diversity) for question in questions])
    return np.bincount(user, values) / np.bincount(user)


def _ndcg(question: Question, vectors: Floats, diversity: float) -> float:
    head = np.argsort(-question.scores, kind="stable")[:_HEAD]
    chosen = choose(question.scores[head], vectors[question.rows[head]], PLACES, Variety(diversity))
    discount = 1 / np.log2(np.arange(2, PLACES + 2))
    found = question.target[head[chosen]] @ discount[: len(chosen)]
    return float(found / discount[: min(question.wanted, PLACES)].sum())
