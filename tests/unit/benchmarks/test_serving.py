"""The arithmetic between a measurement and a table."""

import json

import pytest

from benchmarks import machine
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


def test_a_stretch_without_an_answer_is_an_error_not_a_number() -> None:
    with pytest.raises(UserError, match="no request"):
        figures({"seconds": 1.0, "latencies": [], "outcomes": {}}, CPU)


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
