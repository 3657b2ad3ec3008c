"""Settings are compared by the same draws, means and ratios alike."""

import numpy as np
import pytest

from cli.evaluation.ablation.show import ablation_table
from cli.output import console
from models.evaluate.ablation import Tried, compare
from models.evaluate.bootstrap import Resampling
from models.evaluate.report import Ablation, Setting

HOW = Resampling(draws=300)
DRAWN = np.random.default_rng(3)
BASE = DRAWN.random(80)


def test_a_steady_lead_is_told_from_chance_though_the_intervals_overlap() -> None:
    first, other = compare([Tried("a", {"n": BASE}), Tried("b", {"n": BASE + 0.01})], HOW)
    assert other.intervals["n"][0] < first.intervals["n"][1]
    assert other.differences["n"] == pytest.approx((0.01, 0.01, 0.01), rel=1e-3)
    assert first.differences == {}
    assert first.metrics["n"] == pytest.approx(BASE.mean())


def test_a_ratio_is_of_the_sums_over_users() -> None:
    total, count = np.array([10.0, 0.0, 5.0]), np.array([1.0, 0.0, 4.0])
    ones = np.ones(3)
    tried = [Tried("a", {"n": ones}, {"price": (total, count)})]
    (found,) = compare(tried, HOW)
    assert found.metrics == pytest.approx({"n": 1, "price": 3})
    low, high = found.intervals["price"]
    assert 0 <= low <= 3 <= high <= 10 + 1e-9


def test_a_ratio_of_nothing_is_nought() -> None:
    none = np.zeros(4)
    (found,) = compare([Tried("a", {"n": none}, {"price": (none, none)})], HOW)
    assert found.metrics["price"] == 0


def test_differences_have_the_order_of_their_ends() -> None:
    tried = [Tried(str(n), {"n": DRAWN.random(80), "m": DRAWN.random(80)}) for n in range(4)]
    for setting in compare(tried, HOW)[1:]:
        for gap, low, high in setting.differences.values():
            assert low <= gap <= high


def test_the_settings_of_a_wide_table_can_be_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    names = ("ndcg@10", "revenue", "price", "hit price", "place", "hit place")
    values = dict.fromkeys(names, 0.25)
    gap = {"ndcg@10": (0.1, 0.05, 0.15)}
    settings = [Setting(f"weight 0.{n}", values, {}, gap if n else {}) for n in range(2)]
    console().print(ablation_table(Ablation("utility", "", "", 7, 9, tuple(settings))))
    shown = capsys.readouterr().out
    assert "weight 0.0 " in shown
    assert "weight 0.1 " in shown
    assert "+0.0500 to" in shown
    assert "+0.1500" in shown
