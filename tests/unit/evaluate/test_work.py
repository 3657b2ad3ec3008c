"""Finished parts are found by what they depend on, and by nothing else."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from models.curves import Curves, curves_of
from models.evaluate.work import Arrays, Work, code_of, digest, file_digest


def counted() -> tuple[list[int], "Making"]:
    calls: list[int] = []
    return calls, Making(calls)


class Making:
    """Makes other numbers each time it is asked."""

    def __init__(self, calls: list[int]) -> None:
        self.calls = calls

    def __call__(self) -> Arrays:
        self.calls.append(1)
        return {"n": np.array([len(self.calls)])}


def test_a_part_is_made_once_for_a_key(tmp_path: Path) -> None:
    calls, make = counted()
    for key in ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 1}):
        Work(tmp_path).arrays("x", key, make)
    assert len(calls) == 2
    assert Work(tmp_path).arrays("x", {"a": 1}, make)["n"] == 1


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    calls, make = counted()
    Work(tmp_path).arrays("x", {}, make)
    next(tmp_path.rglob("arrays.npz")).write_bytes(b"PK\x03\x04 cut short")
    assert Work(tmp_path).arrays("x", {}, make)["n"] == 2
    assert len(calls) == 2


def test_what_fails_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def fails() -> Arrays:
        raise RuntimeError("no more memory")

    with pytest.raises(RuntimeError):
        Work(tmp_path).arrays("x", {}, fails)
    assert not list(tmp_path.rglob("*.npz"))


def test_fresh_work_makes_a_part_again_but_only_once(tmp_path: Path) -> None:
    calls, make = counted()
    Work(tmp_path).arrays("x", {}, make)
    fresh = Work(tmp_path, fresh=True)
    assert fresh.arrays("x", {}, make)["n"] == 2
    assert fresh.arrays("x", {}, make)["n"] == 2
    assert len(calls) == 2


def test_a_part_says_what_it_is(tmp_path: Path) -> None:
    home = Work(tmp_path).part("cf", {"seed": 7})
    assert '"seed": 7' in (home / "key.json").read_text()
    assert home.name == f"cf-{digest({'seed': 7})}"


def test_data_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "events.parquet").write_bytes(b"one")
    before = file_digest(tmp_path)
    assert file_digest(tmp_path) == before
    (tmp_path / "events.parquet").write_bytes(b"two")
    assert file_digest(tmp_path) != before


def test_code_is_told_apart_by_all_that_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change two imports away counts, one elsewhere does not."""
    package = tmp_path / "models_fake"
    package.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("models.evaluate.work._OURS", {"models_fake"})
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("def f():\n    from models_fake import b\n    return b\n")
    (package / "c.py").write_text("X = 1\n")
    (package / "other.py").write_text("Y = 1\n")

    def code(b: str) -> str:
        (package / "b.py").write_text(b)
        for cached in ("_imports", "_source"):
            __import__("models.evaluate.work", fromlist=[cached]).__dict__[cached].cache_clear()
        return code_of("models_fake.a")

    first = code("import models_fake.c\n")
    assert code("import models_fake.c\n") == first
    (package / "other.py").write_text("Y = 2\n")
    assert code("import models_fake.c\n") == first
    (package / "c.py").write_text("X = 2\n")
    assert code("import models_fake.c\n") != first


def test_a_trainer_depends_on_its_own_code_and_not_on_anothers() -> None:
    assert code_of("models.cf.train") != code_of("models.sequence.train")
    assert code_of("models.cf.train") == code_of("models.cf.train")


def test_curves_survive_among_the_metrics_of_a_manifest() -> None:
    curves = Curves()
    for step in range(0, 1000, 100):
        curves.add("loss", step, 1 / (1 + step))
    curves.add("validation", 500, 0.25)
    metrics = {"ndcg@10": 0.5, "curve.odd": 1.0, "curve.loss/7": math.nan, **curves.metrics()}
    found = curves_of(metrics)
    assert found["validation"] == [(500.0, 0.25)]
    assert [step for step, _ in found["loss"]] == list(range(0, 1000, 100))
    assert set(found) == {"loss", "validation"}


def test_a_long_curve_keeps_its_shape_in_a_hundred_points() -> None:
    curves = Curves()
    for step in range(5000):
        curves.add("loss", step, float(step))
    points = curves_of(curves.metrics())["loss"]
    assert 40 <= len(points) <= 100
    assert all(step == value for step, value in points)
    assert points[0][0] == 0
    assert points[-1][0] > 4500


def test_a_part_that_two_want_at_once_is_made_once(tmp_path: Path) -> None:
    calls, make = counted()
    begun, goes_on = Event(), Event()

    def slow() -> Arrays:
        begun.set()
        assert goes_on.wait(10)
        return make()

    def told(why: str) -> None:
        assert "another process" in why
        goes_on.set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Work(tmp_path).arrays, "x", {}, slow)
        assert begun.wait(10)
        second = pool.submit(Work(tmp_path, waits=told).arrays, "x", {}, make)
        assert first.result()["n"] == second.result()["n"] == 1
    assert len(calls) == 1


def test_fresh_work_takes_nothing_from_who_is_at_it(tmp_path: Path) -> None:
    work, goes_on = Work(tmp_path), Event()
    with ThreadPoolExecutor(1) as pool:
        with work.held("x", {}) as home:
            (home / "half").touch()
            fresh = Work(tmp_path, fresh=True, waits=lambda _: goes_on.set())
            other = pool.submit(fresh.part, "x", {})
            assert goes_on.wait(10)
            assert (home / "half").exists()
        assert other.result() == home
    assert [path.name for path in home.iterdir()] == ["key.json"]
