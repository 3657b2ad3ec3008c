"""The overload benchmark: what is run, and what is made of it."""

import asyncio
import json
import subprocess
import sys

import pytest

from benchmarks import machine
from benchmarks.open_loop import Shot
from benchmarks.overload import WHOLE, show, topology
from benchmarks.overload_load import Plan, figures, measure, recovered_after
from benchmarks.serving import median
from benchmarks.unguarded import PARTS
from benchmarks.virtual_time import run
from cli.topology import NAMES


def shot(number: int, outcome: str, took: float = 0.1) -> Shot:
    return Shot(number, float(number), 0.0, took, outcome)


def test_only_complete_answers_are_goodput_and_who_died_is_counted() -> None:
    outcomes = ("ok", "ok", "partial", "refused", "DEADLINE_EXCEEDED")
    made = figures([shot(n, o) for n, o in enumerate(outcomes)], 2.0, lambda _: "HOME")
    assert made["goodput_per_second"] == 1.0
    assert made["died_percent"] == pytest.approx(20.0)
    assert made["served_share"] == {"HOME": 0.4}


def test_recovered_is_when_the_last_call_without_an_answer_was_due() -> None:
    shots = [shot(0, "refused"), shot(2, "refused"), shot(4, "partial"), shot(6, "ok")]
    assert recovered_after(shots) == 2.0
    assert recovered_after(shots[2:]) == 0.0


def test_the_capacity_is_the_mean_of_before_and_after_the_overload() -> None:
    """The machine slows down by half in between, and the overload is not blamed for it."""

    async def ask(number: int) -> str:
        await asyncio.sleep(0.1 if asyncio.get_running_loop().time() < 22.0 else 0.2)
        return "ok"

    plan = Plan(
        callers=4, warm_up=1.0, capacity=10.0, overload=10.0, times=1.0, after=5.0, calm=0.5
    )
    found = run(measure(ask, lambda _: "HOME", plan, seed=1))
    assert found["capacity"]["goodput_per_second"] == pytest.approx(40.0, rel=0.05)
    assert found["again"]["goodput_per_second"] == pytest.approx(20.0, rel=0.05)
    assert found["overload"]["capacity_per_second"] == pytest.approx(30.0, rel=0.05)
    assert found["overload"]["share_of_capacity"] == pytest.approx(
        found["overload"]["goodput_per_second"] / found["overload"]["capacity_per_second"]
    )


def test_a_variant_runs_the_gateway_without_a_part_and_the_services_as_they_are() -> None:
    for part in PARTS:
        made = topology(part)
        assert made.gateway.arguments == ("-m", "benchmarks.unguarded", part, "gateway")
        assert not any("unguarded" in end.arguments for end in made.sources)
    assert topology(WHOLE).gateway.arguments == ("-m", "gateway")


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ("turns", "from gateway.admission.turns import Turns; print(Turns.let_in.__module__)"),
        ("gates", "from gateway.admission import lanes; print(lanes.FLOOR > 1000)"),
    ],
)
def test_the_part_is_gone_in_the_process_that_runs(part: str, shown: str) -> None:
    code = f"from benchmarks.unguarded import PARTS; PARTS[{part!r}](); {shown}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"benchmarks.unguarded", "True"}


def test_the_medians_can_be_read_by_people(capsys: pytest.CaptureFixture[str]) -> None:
    phase = figures([shot(0, "ok"), shot(1, "refused")], 2.0, lambda _: "HOME")
    phase |= {
        "cpu_ms_per_second": dict.fromkeys((*NAMES, "client"), 1.0),
        "refused_inside_p50_ms": 1.0,
        "refused_inside_p99_ms": 2.0,
    }
    seen = {
        "capacity": phase,
        "overload": phase | {"share_of_capacity": 0.875},
        "after": phase | {"recovered_after_s": 0.5},
        "again": phase,
    }
    result = {
        "question": "three times",
        "machine": machine.describe(),
        "median": {WHOLE: median([seen, seen])},
        "rounds": {WHOLE: [seen, seen]},
    }
    show(json.loads(json.dumps(result)))
    said = capsys.readouterr().out
    assert "88 % of capacity" in said
    assert "as it is (median of rounds: 2)" in said
