"""Versions in turn: how they are named, whose turn it is, what is made of the rounds."""

import json
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.systems import line_up
from benchmarks.turns import Load, medians, show, turned
from benchmarks.versions import version, versions
from cli.failures import UserError

ROOT = Path(__file__).parents[3]
FIGURES = {
    "p50_ms": 20.0,
    "p99_ms": 60.0,
    "cpu_ms_per_answer": 7.0,
    "refused_percent": 0.0,
    "partial_percent": 0.0,
}


def round_of(goodput: float) -> dict[str, float]:
    return {"goodput_per_second": goodput, **FIGURES}


def test_a_version_is_another_checkout_with_settings_or_this_one_as_it_is() -> None:
    other = version(f"before={ROOT},PLAIT_GATEWAY_LOAD_SHARE=0.25")
    assert other.name == "before"
    assert other.environment == {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}",
        "PYTHONSAFEPATH": "1",
        "PLAIT_GATEWAY_LOAD_SHARE": "0.25",
    }
    assert version("now").environment == {}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["=x"], "written NAME"),
        # Would run this checkout under the other's name.
        (["../before", "now"], "as before=../before"),
        ([".."], "written NAME"),
        (["a=LOAD_SHARE=1"], "no setting"),
        ([f"a={ROOT / 'docs'}"], "no checkout"),
        (["a", "a"], "names of their own"),
    ],
)
def test_what_is_no_version_is_said(said: list[str], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        versions(said)


def test_a_load_is_callers_or_a_rate() -> None:
    assert Load.read("16") == Load(callers=16)
    assert Load.read("300/s") == Load(rate=300.0)
    for wrong in ("many", "0", "-1/s", ""):
        with pytest.raises(UserError, match="a load is"):
            Load.read(wrong)


def test_everybody_is_the_first_in_turn() -> None:
    assert [turned(["a", "b", "c"], n)[0] for n in range(4)] == ["a", "b", "c", "a"]
    assert sorted(turned(["a", "b", "c"], 1)) == ["a", "b", "c"]


def test_versions_are_compared_within_a_round_and_not_between() -> None:
    """The second round's machine is half as fast; b is a tenth ahead in both."""
    found = {
        "a": [round_of(200.0), round_of(100.0), round_of(190.0)],
        "b": [round_of(220.0), round_of(110.0), round_of(209.0)],
    }
    made = medians(found)
    assert made["b"]["ratio"] == pytest.approx(1.1)
    assert made["a"]["ratio"] == 1.0
    assert made["b"]["goodput_per_second"] == 209.0


def test_the_medians_can_be_read_by_people(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = {"16": {"before": [round_of(200.0)], "now": [round_of(250.0)]}}
    result = {
        "question": "versions in turn",
        "machine": machine.describe(),
        "median": {load: medians(found) for load, found in rounds.items()},
        "rounds": rounds,
    }
    show(json.loads(json.dumps(result)))
    said = capsys.readouterr().out
    assert "1.25" in said
    assert "16, now: complete a second in each round 250" in said


def test_the_comparison_takes_versions_beside_the_systems(tmp_path: Path) -> None:
    lined = line_up(tmp_path, tmp_path, ["plain"], [version("before")])
    assert {key: system.name for key, system in lined.items()} == {
        "plait": "Plait",
        "plain": "plain grpc.aio fan-out",
        "plait=before": "Plait, before",
    }
