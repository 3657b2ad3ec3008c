"""All faults, in the order they are tried; those that share a wiring stand together."""

from collections.abc import Sequence

from benchmarks.chaos.faults import (
    answers,
    gateway,
    kills,
    malformed,
    overload,
    resets,
    steady,
    stops,
    store,
    versions,
)
from benchmarks.chaos.trial import Trial

TRIALS: Sequence[Trial] = (
    *kills.TRIALS,
    *stops.TRIALS,
    *versions.TRIALS,
    *gateway.TRIALS,
    *overload.TRIALS,
    *steady.TRIALS,
    *malformed.TRIALS,
    *answers.TRIALS,
    *resets.TRIALS,
    *store.TRIALS,
)
