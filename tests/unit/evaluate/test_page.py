"""The page: well formed, complete, and nothing to load from anywhere."""

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.evaluation.page.charts import Dot, intervals, lines, scatter
from cli.evaluation.page.page import page
from cli.evaluation.page.svg import Scale, number
from cli.evaluation.show import show
from models.evaluate.report import (
    Ablation,
    Bin,
    Difference,
    Point,
    Report,
    Row,
    Setting,
    SliceResult,
    Subset,
    Sweep,
    Table,
)

METRICS = {f"{name}@{k}": 0.1 * k / 10 for name in ("ndcg", "recall", "diversity", "novelty")
           for k in (5, 10)}  # fmt: skip
ODD = "a <b> & \"c\" 'd'"


def row(name: str, kind: str, value: float) -> Row:
    metrics = {**METRICS, "ndcg@10": value}
    ends = {m: (v - 0.01, v + 0.01) for m, v in metrics.items()}
    return Row(name, kind, metrics, ends, note=ODD, cpu_ms=1.5)


def report() -> Report:
    rows = (row("popular-7d", "baseline", 0.1), row("cf", "model", 0.2), row(ODD, "fusion", 0.3))
    names = [one.name for one in rows]
    part = SliceResult(
        "items", "new items", ODD, 9, 12, {n: {"ndcg@10": 0.1} for n in names},
        dict.fromkeys(names, (0.05, 0.15)),
    )  # fmt: skip
    table = Table(
        title="What users did next",
        unit="users",
        users=50,
        users_without_history=3,
        users_only_seen=4,
        targets=80,
        catalogue=99,
        rows=rows,
        differences=(Difference(ODD, "cf", "ndcg@10", 0.1, 0.02, 0.2, 0.5),),
        slices=(part,),
        calibration={"cf": (Bin(0.1, 0.01, 50), Bin(0.9, 0.4, 5))},
        variety=(Sweep("diversity", ODD, 0.5, (Point(0.0, METRICS),
                       Point(0.5, {**METRICS, "ndcg@10": 0.09}, -0.01, -0.02, 0.0, -0.1))),),
        variety_users=20,
        subsets=(Subset(("cf", ODD), 20, {"fused": 0.25, ODD: 0.2}),),
        ablations=(Ablation("live", ODD, ODD, 20, 30, (
            Setting("none", {"ndcg@10": 0.1}, {"ndcg@10": (0.0, 0.2)}, {}),
            Setting(ODD, {"ndcg@10": 0.2}, {"ndcg@10": (0.1, 0.3)}, {"ndcg@10": (0.1, 0.05, 0.15)}),
        )),),
        fusion={"surface": "HOME", "ranker": "convex", "weights": {"cf": 1.0}, "w_trend": 0.1,
                "diversity": 0.1, "domain_calibration": 0.0, "provider_share": 1.0},
        curves={"cf": {"loss": [(0.0, 3.0), (10.0, 2.0)]}},
    )  # fmt: skip
    return Report(
        dataset=ODD, source="made", protocol="time-split", judged="test", split="by time: a < b",
        trained_on="train", exclude_seen=False, ks=(5, 10), main="ndcg@10", confidence=0.95,
        draws=100, tables=(table,), skipped={"text": ODD},
        machine={"time": "now", "cpu": "x", "cores": 2, "python": "3", "versions": {"numpy": "2"}},
        settings={"odd": ODD},
    )  # fmt: skip


def html(made: Report | None = None) -> str:
    found: dict[str, Any] = (made or report()).as_json()
    return page(found)


def test_every_tag_is_closed_where_it_should_be() -> None:
    body = html().removeprefix("<!DOCTYPE html>\n")
    root = ElementTree.fromstring(body)
    assert root.tag == "html"
    assert len(list(root.iter("svg"))) >= 6


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    text = html()
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b", text)
    assert not re.search(r"(src|href|xlink:href|action)\s*=", text)
    assert "@import" not in text
    assert "url(" not in text


def test_names_of_the_data_are_text_and_never_markup() -> None:
    assert "a <b>" not in html()
    assert "a &lt;b&gt; &amp;" in html()


@pytest.mark.parametrize(
    "said",
    ["Quality by slice", "Accuracy against diversity", "Accuracy for variety", "Calibration",
     "Learning curves",
     "new items", "Differences", "50", "users", "wanted only what they had, not asked"],
)  # fmt: skip
def test_the_page_has_each_of_its_parts(said: str) -> None:
    assert said in html()


def test_who_was_not_asked_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    show(report())
    said = " ".join(capsys.readouterr().out.split())
    assert "3 users without a history, not asked" in said
    assert "4 users wanted only what they had before, not asked" in said


def test_a_part_without_data_is_left_out_and_leaves_the_page_whole() -> None:
    bare = replace(
        report().tables[0], slices=(), calibration={}, variety=(), fusion={}, curves={},
        differences=(), rows=report().tables[0].rows[1:2],
    )  # fmt: skip
    text = html(replace(report(), tables=(bare,), ks=(10,)))
    ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    assert "Learning curves" not in text
    assert "Quality by slice" not in text


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_round_and_within_the_data(low: float, width: float) -> None:
    ticks = Scale((low, low + width), (0, 100)).ticks()
    assert 1 <= len(ticks) <= 12
    assert all(low - 1e-6 * width <= t <= low + width + 1e-6 * width for t in ticks)
    assert ticks == sorted(set(ticks))


def test_a_scale_maps_ends_to_ends_either_way_round() -> None:
    up, down = Scale((0, 2), (10, 30)), Scale((2, 0), (10, 30))
    assert (up(0), up(1), up(2)) == (10, 20, 30)
    assert (down(2), down(1), down(0)) == (10, 20, 30)
    assert Scale((1, 1), (0, 10))(1) == 5


def test_charts_of_equal_or_single_values_can_be_drawn() -> None:
    charts = [
        intervals([("a", [Dot(0, 0, 0, 0, "nought")])], "x", zero=True),
        lines({"a": [(0, 0), (0, 0)]}, ("x", "y"), {"a": 0}),
        scatter({"a": (1, 1), "b": (1, 1)}, ("x", "y"), {"a": 0, "b": 1}),
    ]
    for chart in charts:
        assert "nan" not in chart
        ElementTree.fromstring(chart)


def test_numbers_are_short() -> None:
    assert [number(n) for n in (0.1 + 0.2, 12_000, 5.0, -0.25)] == ["0.3", "12k", "5", "-0.25"]
