"""What a model may be told of a history beside items and weights: each event's type and age.

Both are optional on the wire and for a model: what a graph declares is given to it, and
where a caller does not know, it is told so. Most models want neither and pay nothing.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from artifacts.engine import Question
from artifacts.keys import Keys

TYPE = "history_type"
AGE = "history_age"
UNKNOWN_TYPE = 0
UNKNOWN_AGE = -1.0
# In the order in which the tensors stand in a manifest.
TOLD = (TYPE, AGE)
Column = npt.NDArray[np.int64] | npt.NDArray[np.float32]


def told(question: Question, names: Collection[str]) -> dict[str, Column]:
    """Return those of `names` as columns aligned with the history [B, L]."""
    found: dict[str, Column] = {}
    if TYPE in names:
        found[TYPE] = filled_types(question.history_type, question.history)
    if AGE in names:
        found[AGE] = filled_ages(question.history_age, question.history)
    return found


def filled_types(types: Keys | None, history: Keys) -> Keys:
    """Return the types as they are, or "unknown" for each event of `history`."""
    return np.zeros(history.shape, np.int64) if types is None else types


def filled_ages(ages: npt.NDArray[np.float32] | None, history: Keys) -> npt.NDArray[np.float32]:
    """Return the ages as they are, or "unknown" for each event of `history`."""
    return np.full(history.shape, UNKNOWN_AGE, np.float32) if ages is None else ages
