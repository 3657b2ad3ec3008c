"""A small network as plain arrays: two matrix products and a dot product score a pool.

The one idea: at this size (some thousand numbers) numpy costs less than handing the
table to a runtime, and the gateway needs nothing more than it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from artifacts.formulas import Floats

# Standardised features beyond this are outliers; cut, they cannot run away with a score.
MOST = np.float32(5.0)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Network:
    """Layers of ReLU units over F standardised features, and one output."""

    mean: Floats  # [F]
    scale: Floats  # what a feature is multiplied by once its mean is taken off [F]
    weights: Sequence[Floats]  # [F, H1], [H1, H2], ..., [Hn, 1]
    biases: Sequence[Floats]  # [H1], ..., [1]

    def score(self, table: Floats) -> Floats:
        """Return the score of each row of a table of features [P, F], float32 [P]."""
        units = np.subtract(table, self.mean)
        units *= self.scale
        np.clip(units, -MOST, MOST, out=units)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            units = units @ weight
            units += bias
            np.maximum(units, 0, out=units)
        scores: Floats = (units @ self.weights[-1])[:, 0] + self.biases[-1][0]
        return scores

    def problem(self, features: int) -> str:
        """Say what is wrong with its shapes for so many features; "" if nothing is."""
        arrays = (self.mean, self.scale, *self.weights, *self.biases)
        if not all(np.isfinite(array).all() for array in arrays):
            return "a number that is not finite"
        widths = [features, *(bias.shape[-1] if bias.ndim else 0 for bias in self.biases)]
        shapes = [*pairwise(widths)]
        if self.mean.shape != (features,) or self.scale.shape != (features,):
            return f"means of {self.mean.shape}, expected {features} features"
        if [weight.shape for weight in self.weights] != shapes or widths[-1] != 1:
            return f"layers of {[weight.shape for weight in self.weights]}, expected {shapes}"
        return ""
