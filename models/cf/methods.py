"""The methods: what each may be set to, and how it is fitted.

The one idea: a method is a list of settings to try and a function from a setting to a
fitted model. Choosing, measuring, exporting and serving know no method by name, so a
fifth is one entry of `METHODS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.cf import factors, knn
from models.cf.config import Config
from models.cf.local import companions, local_weights
from models.cf.model import Inverse, inverter
from models.cf.weights import DenseWeights, Fit, SparseWeights

# What is tried: names of settings with their values.
Setting = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Method:
    """One way to learn from who took what."""

    settings: Callable[[Config], tuple[Setting, ...]]
    # Given X [U, n] and how it is to be learned from.
    fitter: Callable[[sparse.csr_matrix, Config], Callable[[Setting], Fit]]
    # Whether cost grows with items squared, so that settings are chosen on fewer.
    by_items: bool


def user_weighted(x: sparse.csr_matrix, power: float) -> sparse.csr_matrix:
    """Return X with users counting (d / mean d)^power in X'X, d being how many items each had.

    Users with many items fill most of X'X (their items squared) and say the least by each;
    GF-CF and its kin divide by the root of d on both sides (Shen et al., CIKM 2021).
    """
    if power == 0:
        return x
    d = np.diff(x.indptr).astype(np.float32)
    root = (np.maximum(d, 1) / np.maximum(d.mean(), 1)) ** (power / 2)
    return sparse.csr_matrix(sparse.diags_array(root.astype(np.float32)) @ x)


def fit_ease(x: sparse.csr_matrix, config: Config) -> Callable[[Setting], Fit]:
    """Fit regressions (model.py), or local ones (local.py)."""
    made: dict[float, Callable[[float], Fit]] = {}
    local = x.shape[1] > config.dense_items

    def fit(setting: Setting) -> Fit:
        power = setting["user_power"]
        if power not in made:
            made.clear()  # one factorisation in memory
            made[power] = _regressions(user_weighted(x, power), local=local)
        return made[power](setting["regularisation"])

    return fit


def _regressions(x: sparse.csr_matrix, *, local: bool) -> Callable[[float], Fit]:
    if local:
        found = companions(x)
        return lambda regularisation: local_weights(found, regularisation)
    invert: Callable[[float], Inverse] = inverter(x)
    return lambda regularisation: DenseWeights(invert(regularisation))


def fit_knn(x: sparse.csr_matrix, config: Config) -> Callable[[Setting], Fit]:
    """Fit neighbourhoods (knn.py); similarities are made once for each way to count users."""
    made: dict[float, knn.Similar] = {}
    most = max(config.companions)

    def fit(setting: Setting) -> SparseWeights:
        power = setting["user_power"]
        if power not in made:
            made.clear()
            weighted = user_weighted(x, power)
            found = knn.similar(weighted, most=most, shrinkage=config.shrinkage)
            made[power] = knn.Similar(found.items, knn.biases(x))
        return knn.neighbourhoods(
            made[power],
            most=int(setting["companions"]),
            normalisation=setting["normalisation"],
        )

    return fit


def fit_als(x: sparse.csr_matrix, config: Config) -> Callable[[Setting], Fit]:
    """Fit alternating least squares (factors.py)."""
    return lambda setting: factors.als(
        x, config, penalty=setting["regularisation"], confidence=setting["confidence"]
    )


def fit_bpr(x: sparse.csr_matrix, config: Config) -> Callable[[Setting], Fit]:
    """Fit Bayesian personalised ranking (factors.py)."""
    return lambda setting: factors.bpr(x, config, penalty=setting["regularisation"])


def _ease_settings(config: Config) -> tuple[Setting, ...]:
    return tuple(
        {"regularisation": r, "user_power": p}
        for p in config.user_powers
        for r in config.regularisations
    )


def _knn_settings(config: Config) -> tuple[Setting, ...]:
    return tuple(
        {"companions": float(c), "normalisation": q, "user_power": p}
        for p in config.user_powers
        for c in config.companions
        for q in config.normalisations
    )


def _als_settings(config: Config) -> tuple[Setting, ...]:
    return tuple(
        {"regularisation": r, "confidence": c}
        for c in config.confidences
        for r in config.als_regularisations
    )


def _bpr_settings(config: Config) -> tuple[Setting, ...]:
    return tuple({"regularisation": r} for r in config.bpr_regularisations)


METHODS: dict[str, Method] = {
    "ease": Method(_ease_settings, fit_ease, by_items=True),
    "knn": Method(_knn_settings, fit_knn, by_items=True),
    "als": Method(_als_settings, fit_als, by_items=False),
    "bpr": Method(_bpr_settings, fit_bpr, by_items=False),
}
