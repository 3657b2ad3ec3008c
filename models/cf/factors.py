"""Vectors of users and items by the library `implicit`, and how a stranger gets one.

ALS: least squares on all cells, taken ones with more confidence (Hu, Koren & Volinsky,
ICDM 2008). BPR: taken before not taken (Rendle et al., UAI 2009). The one idea:
neither serves the vectors of its users. A history is folded in when it is asked with:

- ALS: the user's own least squares problem, (Y'Y + lambda I + Y_h' C Y_h) u = Y_h' (1 + C).
  With item vectors Z = Y (Y'Y + lambda I)^-1/2 it is (I + Z_h' C Z_h) v = Z_h' (1 + C)
  and scores are Z v: one table, and a matrix so near to I that a dozen steps of
  conjugate gradients solve it.
- BPR: ridge regression of the trained users' vectors on the means of their items'
  vectors, once; a stranger's mean goes the same way.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.recommender_base import ModelFitError
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

from models.cf.config import Config
from models.cf.model import Floats
from models.data.errors import OptionError

# Conjugate gradient steps of a fold-in: fixed, since a graph has no end of its own.
STEPS = 12
# Penalty of the regression that maps means of vectors to users, per user.
_RIDGE = 1e-3
_BATCH = 512
_LEAST = np.float32(1e-20)


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """Tables of a model of vectors, ready to be asked."""

    speak: Floats  # what each item adds to a user [n, d]
    items: Floats  # what a user's vector is multiplied with [n, d]
    bias: Floats  # [n]
    # ALS: what a strength of 1 adds to the confidence; None: users are means.
    confidence: float | None

    def scaled(self, scale: Floats) -> "Factors":
        """Return the model with each item's score times `scale` [n]."""
        return replace(self, items=self.items * scale[:, None], bias=self.bias * scale)

    def predict(self, histories: sparse.csr_matrix) -> Floats:
        """Return scores of all items [V, n]; histories [V, n] hold strengths."""
        found: Floats = self.users(histories) @ self.items.T + self.bias
        return found

    def users(self, histories: sparse.csr_matrix) -> Floats:
        """Fold histories in: their vectors [V, d]."""
        if self.confidence is None:
            total = np.asarray(histories.sum(axis=1), np.float32)
            mean: Floats = ((histories @ self.speak) / np.maximum(total, _LEAST)).astype(np.float32)
            return mean
        rows = [self._solved(histories[user]) for user in range(histories.shape[0])]
        return np.stack(rows) if rows else np.zeros((0, self.speak.shape[1]), np.float32)

    def _solved(self, history: sparse.csr_matrix) -> Floats:
        """Return the exact solution for one user [d]."""
        z = self.speak[history.indices]
        confidence = np.float32(self.confidence) * history.data
        matrix = (z.T * np.maximum(confidence, 0)) @ z
        matrix[np.diag_indices_from(matrix)] += 1
        wanted: Floats = np.linalg.solve(matrix, (1 + confidence) @ z).astype(np.float32)
        return wanted


def als(x: sparse.csr_matrix, config: Config, *, penalty: float, confidence: float) -> Factors:
    """Train on x [U, n]; one thread, so that a training can be repeated. Raises OptionError."""
    # implicit takes confidences, 1 being that of a cell without an event.
    known = x.copy()
    known.data = (1 + np.float32(confidence) * x.data).astype(np.float32)
    with threadpool_limits(1, "blas"):  # from the first: the library warns of more
        model = AlternatingLeastSquares(
            factors=min(config.factors, x.shape[1]), regularization=penalty, alpha=1.0,
            iterations=config.als_rounds, num_threads=1, random_state=config.seed,
        )  # fmt: skip
        _fit(model, known, "raise als_regularisations, or lower confidences")
    vectors = np.asarray(model.item_factors, np.float64)
    gram = vectors.T @ vectors + penalty * np.eye(vectors.shape[1])
    values, axes = linalg.eigh(gram)
    z: Floats = (vectors @ (axes / np.sqrt(values))).astype(np.float32)
    return Factors(z, z, np.zeros(len(z), np.float32), confidence)


def bpr(x: sparse.csr_matrix, config: Config, *, penalty: float) -> Factors:
    """Train on x [U, n]: what was taken at all, however often. Raises OptionError."""
    with threadpool_limits(1, "blas"):
        model = BayesianPersonalizedRanking(
            factors=min(config.factors, x.shape[1]), learning_rate=config.bpr_rate,
            regularization=penalty, iterations=config.bpr_rounds, num_threads=1,
            random_state=config.seed,
        )  # fmt: skip
        _fit(model, x, "lower bpr_rate")
    # The last place of an item's vector is its bias, of a user's 1.
    vectors, users = model.item_factors[:, :-1], model.user_factors[:, :-1]
    bias = np.asarray(model.item_factors[:, -1], np.float32)
    total = np.maximum(np.asarray(x.sum(axis=1)), _LEAST)
    means = (x @ vectors) / total  # [U, d]
    gram = means.T @ means + _RIDGE * len(users) * np.eye(means.shape[1])
    speak: Floats = (vectors @ np.linalg.solve(gram, means.T @ users)).astype(np.float32)
    return _of_common_size(Factors(speak, np.asarray(vectors, np.float32), bias, None), x)


def _fit(model: Any, x: sparse.csr_matrix, remedy: str) -> None:
    try:
        model.fit(x, show_progress=False)
    except ModelFitError as error:
        raise OptionError(f"cf: the training has diverged ({error}); {remedy}") from None


def _of_common_size(found: Factors, x: sparse.csr_matrix) -> Factors:
    """Bring the scores of a user's best item to about 1, as those of the other methods."""
    scores = found.predict(x[:_BATCH])
    spread = np.float32(np.mean(scores.max(axis=1) - scores.mean(axis=1)))
    size = np.float32(1) / np.maximum(spread, _LEAST)
    return found.scaled(np.full(x.shape[1], size, np.float32))
