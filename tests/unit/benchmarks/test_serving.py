"""The arithmetic between a measurement and a table."""

import json

import pytest

from benchmarks import catalogue, machine
from benchmarks.callers import Load
from benchmarks.report import show
from benchmarks.serving import figures, median
from cli.failures import UserError
from cli.topology import NAMES, SOURCES

CPU = dict.fromkeys(NAMES, 0.5)


def test_quantiles_rate_and_cpu_come_from_the_measured_stretch() -> None:
    seen = {"seconds": 2.0, "latencies": [0.002] * 99 + [0.1], "outcomes": {"ok": 98, "partial": 2}}
    made = figures(seen, CPU)
    assert made["requests_per_second"] == 50
    assert made["p50_ms"] == pytest.approx(2.0)
    assert made["p99_ms"] == pytest.approx(100.0)
    assert made["cpu_ms_per_request"] == pytest.approx(25.0)
    assert made["cpu_ms_by_process"]["cf"] == pytest.approx(5.0)
    assert made["not_ok"] == 2


def test_a_refusal_is_no_ranking_and_no_latency() -> None:
    """Callers who are refused ask again at once: many and quick, they are no throughput."""
    load = Load(["718"], 0)
    load.measuring = True
    for outcome, seconds in (("ok", 0.02), ("partial", 0.03), *[("RESOURCE_EXHAUSTED", 1e-4)] * 98):
        load.note(seconds, outcome)
    seen = {"seconds": 2.0, "latencies": load.seconds, "outcomes": dict(load.outcomes)}
    made = figures(seen, CPU)
    assert made["requests_per_second"] == 1
    assert made["p50_ms"] == pytest.approx(30.0)
    assert made["cpu_ms_per_request"] == pytest.approx(1250.0)
    assert (made["requests"], made["not_ok"]) == (100, 99)


def test_a_stretch_without_an_answer_is_an_error_not_a_number() -> None:
    for outcomes, why in (({}, "none ended"), ({"UNAVAILABLE": 7}, "UNAVAILABLE")):
        with pytest.raises(UserError, match=f"no request.*{why}"):
            figures({"seconds": 1.0, "latencies": [], "outcomes": outcomes}, CPU)


def test_every_number_is_the_median_over_rounds() -> None:
    rounds = [{"a": {"b": x}, "c": 10 * x} for x in (3, 1, 2)]
    assert median(rounds) == {"a": {"b": 2}, "c": 20}


def test_a_result_can_be_read_by_people_and_by_machines(capsys: pytest.CaptureFixture[str]) -> None:
    seen = figures({"seconds": 1.0, "latencies": [0.001], "outcomes": {"ok": 1}}, CPU)
    cost = {b: {"wall_ms_per_row": 0.25, "cpu_ms_per_row": 0.25} for b in ("1", "16")}
    rounds = [{"serving": {"16": seen}, "bare": dict.fromkeys(SOURCES, cost)}]
    result = {
        "question": "Recommend HOME",
        "machine": machine.describe(),
        "seed": 0,
        "seconds": 5.0,
        "median": median(rounds),
        "rounds": rounds,
    }
    assert json.loads(json.dumps(result)) == result
    show(result)
    said = capsys.readouterr().out
    assert "all four" in said
    assert "1.000" in said
    assert max(len(line) for line in said.splitlines()) <= 110


def test_a_catalogue_that_is_too_large_to_be_asked_in_time_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sources that are late cost their work and bring nothing: a low price would mislead."""
    seen = {"seconds": 1.0, "latencies": [0.25] * 8, "outcomes": {"ok": 2, "partial": 6}}
    facts = {"memory_mb": {"gateway": 100.0}, "recall": {"text": 1.0}, "start_seconds": 1.0}
    result = {
        "question": "by size", "facts": {"20000": facts}, "median": {"20000": figures(seen, CPU)},
    }  # fmt: skip
    catalogue.show(result)
    said = capsys.readouterr().out
    assert "75.0" in said
