"""Types and ages of history events on the wire: read, padded together and repeated.

Only models that declare the inputs are sent them, so for the others nothing here runs.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from artifacts.engine import Question, Scores
from artifacts.engines.told import AGE, TYPE, UNKNOWN_AGE, UNKNOWN_TYPE, filled_ages, filled_types
from artifacts.keys import Keys
from services.runtime import validation
from services.runtime.errors import InvalidArgument
from services.runtime.model import Array


def read_types(inputs: Mapping[str, Array], history: Keys) -> Keys | None:
    """Return history_type [B, L] or None; raises InvalidArgument where it does not fit."""
    return cast(Keys | None, _aligned(TYPE, inputs, history))


def read_ages(inputs: Mapping[str, Array], history: Keys) -> Scores | None:
    """Return history_age [B, L] or None; raises InvalidArgument where it does not fit."""
    ages = _aligned(AGE, inputs, history)
    if ages is not None:
        validation.check_finite(AGE, ages)
    return cast(Scores | None, ages)


def stacked_types(questions: Sequence[Question], width: int) -> Keys | None:
    """Put the types below each other, aligned right; None where no question has any."""
    if all(q.history_type is None for q in questions):
        return None
    parts = [filled_types(q.history_type, q.history) for q in questions]
    return cast(Keys, _stacked(parts, width, UNKNOWN_TYPE))


def stacked_ages(questions: Sequence[Question], width: int) -> Scores | None:
    """Put the ages below each other, aligned right; None where no question has any."""
    if all(q.history_age is None for q in questions):
        return None
    parts = [filled_ages(q.history_age, q.history) for q in questions]
    return cast(Scores, _stacked(parts, width, UNKNOWN_AGE))


def _aligned(name: str, inputs: Mapping[str, Array], history: Keys) -> Array | None:
    found = inputs.get(name)
    if found is not None and found.shape != history.shape:
        raise InvalidArgument(
            name, f"shape {list(found.shape)}, but history has {list(history.shape)}"
        )
    return found


def _stacked(parts: Sequence[Array], width: int, unknown: float) -> Array:
    pads = [((0, 0), (width - part.shape[1], 0)) for part in parts]
    padded = [np.pad(p, by, constant_values=unknown) for p, by in zip(parts, pads, strict=True)]
    return cast(Array, np.concatenate(padded))
