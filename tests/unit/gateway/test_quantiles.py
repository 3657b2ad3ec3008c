"""Answers are calibrated by the quantiles of the version that gave them."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np

from artifacts import manifest as manifests
from artifacts.fusion import FusionArtifact
from gateway.quantiles import Quantiles
from gateway.types import Outcome, SourceAnswer
from plait.v1.manifest_pb2 import Manifest, ScoreQuantile
from tests.integration.gateway.world import fusion
from tests.support.servers import eventually

NONE = np.zeros(0, np.float32)


def learned() -> FusionArtifact:
    tuned = (np.array([0.0, 1.0], np.float32), np.array([0.0, 1.0], np.float32))
    return replace(fusion(), quantiles={"cf": tuned}, tuned_on={"cf": 1})


def publish(repository: Path, version: int, scores: list[float]) -> None:
    directory = repository / "cf" / str(version)
    directory.mkdir(parents=True)
    points = [ScoreQuantile(probability=n / 2, score=s) for n, s in enumerate(scores)]
    manifest = Manifest(source="cf", version=version, score_quantiles=points)
    manifests.write(directory, manifest, np.array([1], np.int64))


def answer(version: str, outcome: Outcome = Outcome.OK) -> SourceAnswer:
    return SourceAnswer("cf", outcome, np.zeros(0, np.int64), NONE, version)


def scores(quantiles: Quantiles, version: str) -> list[float]:
    return quantiles.of([answer(version)])["cf"][1].tolist()


async def test_a_version_other_than_the_tuned_one_brings_its_own(tmp_path: Path) -> None:
    publish(tmp_path, 2, [5.0, 6.0, 9.0])
    quantiles = Quantiles(tmp_path, learned())
    assert scores(quantiles, "1") == [0.0, 1.0]
    await eventually(lambda: scores(quantiles, "2") == [5.0, 6.0, 9.0], "reading the manifest")
    assert scores(quantiles, "1") == [0.0, 1.0]


async def test_a_version_that_was_not_answered_by_changes_nothing(tmp_path: Path) -> None:
    quantiles = Quantiles(tmp_path, learned())
    assert quantiles.of([answer("2", Outcome.LATE)]) is learned_by(quantiles)


async def test_without_a_usable_manifest_the_artifacts_stand_in(tmp_path: Path) -> None:
    publish(tmp_path, 3, [2.0, 1.0])  # not ascending
    quantiles = Quantiles(tmp_path, learned())
    for version in ("3", "4", "../cf/3", "v2"):
        scores(quantiles, version)
        await asyncio.sleep(0.02)
        assert scores(quantiles, version) == [0.0, 1.0]


async def test_a_new_fusion_says_which_versions_it_belongs_to(tmp_path: Path) -> None:
    publish(tmp_path, 2, [5.0, 6.0])
    quantiles = Quantiles(tmp_path, learned())
    await eventually(lambda: scores(quantiles, "2") == [5.0, 6.0], "reading the manifest")
    quantiles.learn(replace(learned(), tuned_on={"cf": 2}))
    assert scores(quantiles, "2") == [0.0, 1.0]


async def test_a_source_that_invents_versions_fills_no_memory(tmp_path: Path) -> None:
    publish(tmp_path, 9_999, [5.0, 6.0])
    quantiles = Quantiles(tmp_path, learned())
    for version in range(1_000, 1_100):
        scores(quantiles, str(version))
    scores(quantiles, "9999")
    await asyncio.sleep(0.05)
    assert scores(quantiles, "9999") == [0.0, 1.0]
    # Nor do the versions of years fill it: with the next fusion there is room again.
    quantiles.learn(learned())
    await eventually(lambda: scores(quantiles, "9999") == [5.0, 6.0], "reading the manifest")


def learned_by(quantiles: Quantiles) -> object:
    return quantiles.of([])
