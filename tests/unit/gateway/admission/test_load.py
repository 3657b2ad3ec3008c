"""What counts as a busy machine: slow work in general, not one slow model."""

import numpy as np
import pytest

from gateway.admission.load import load_seconds
from gateway.types import Ask, Outcome, Ranking, SourceAnswer, Timings

FAIR = 0.06
NONE, ROWS = np.zeros(0, np.int64), np.zeros(0, np.int32)


def ranking(*sources: tuple[Outcome, float], own: float = 0.01) -> Ranking:
    waited = max((seconds for _, seconds in sources), default=0.0)
    answers = tuple(
        SourceAnswer(f"s{n}", outcome, NONE, NONE.astype(np.float32), seconds=seconds)
        for n, (outcome, seconds) in enumerate(sources)
    )
    return Ranking(
        "id", Ask("HOME", "u"), ROWS, NONE.astype(np.float32), ROWS, answers,
        (0,) * len(answers), False, 0, 0,
        Timings(waited + own, own, (("fan_out", waited),)),
    )  # fmt: skip


OK, LATE, ERROR = Outcome.OK, Outcome.LATE, Outcome.ERROR


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        pytest.param([(OK, 0.02), (OK, 0.03), (OK, 0.04), (OK, 0.05)], 0.05, id="all-well"),
        pytest.param([(OK, 0.02), (OK, 0.03), (OK, 0.04), (LATE, 0.2)], 0.05, id="one-hangs"),
        pytest.param([(OK, 0.02), (OK, 0.03), (LATE, 0.2), (LATE, 0.2)], 0.21, id="two-are-late"),
        pytest.param([(OK, 0.02), (ERROR, 0.2), (ERROR, 0.2)], 0.03, id="failures-say-nothing"),
        pytest.param([], 0.01, id="nobody-asked"),
    ],
)
def test_the_slowest_source_but_one_counts(
    sources: list[tuple[Outcome, float]], expected: float
) -> None:
    assert load_seconds(ranking(*sources), FAIR) == pytest.approx(expected)


def test_sources_that_were_not_given_their_time_say_nothing() -> None:
    hurried = ranking((LATE, 0.03), (LATE, 0.03), (OK, 0.01))
    assert load_seconds(hurried, FAIR) is None
