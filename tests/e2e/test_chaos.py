"""The short form of `make chaos`: the same faults, bounds on time not judged."""

import pytest

from benchmarks.chaos.faults import TRIALS
from benchmarks.chaos.run import run
from benchmarks.chaos.trial import SHORT, Finding
from benchmarks.chaos.world import Ground as Seeded
from tests.e2e.conftest import Ground

# One of each kind; `make chaos` tries them all.
CHOSEN = ("kill-all-four", "stop", "versions", "kill-gateway", "malformed", "nan", "reset-calls")


@pytest.fixture(scope="module")
def findings(ground: Ground) -> dict[str, Finding]:
    trials = [trial for trial in TRIALS if trial.name in CHOSEN]
    seeded = Seeded(ground.places.models, ground.places.seed)
    return {f.name: f for f in run(trials, seeded, SHORT, lambda _: None)}


@pytest.mark.parametrize("name", CHOSEN)
def test_shoppers_are_served_whatever_breaks(findings: dict[str, Finding], name: str) -> None:
    failed = findings[name].failed(bounds=False)
    assert [f"{check.must}: {check.measured}" for check in failed] == []
