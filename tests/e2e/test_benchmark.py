"""The benchmark's job on real processes: Plait's own services give the answer that counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.contest import CHECKED, Examiner
from benchmarks.job.publish import Config, publish_all
from benchmarks.job.reference import Reference
from benchmarks.job.state import write_state
from benchmarks.job.world import World, world
from benchmarks.load import SHOPPERS
from benchmarks.systems.plain import Plain
from benchmarks.systems.plait import DEFAULTS, FurtherGateway, Plait, Through


@pytest.fixture(scope="module")
def shop() -> World:
    return world(seed=3, items=2_000)


@pytest.fixture(scope="module")
def repository(shop: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("job")
    publish_all(home, Config(seed=3), shop)
    return home


@pytest.fixture(scope="module")
def plait(
    shop: World, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plait]:
    work = tmp_path_factory.mktemp("work")
    write_state(work / "state.sqlite", shop, SHOPPERS, (10, 50))
    made = Plait(repository, work / "state.sqlite", work)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def examiner(shop: World, repository: Path) -> Examiner:
    return Examiner(shop, Reference(repository))


def test_plait_gives_the_jobs_answer_however_it_is_asked(plait: Plait, examiner: Examiner) -> None:
    for system in (
        Through("by shopper", plait),
        Through("in the request", plait, codec="events"),
        Through("explained", plait, codec="explained"),
        Through("shorter", plait, length=10),
    ):
        door = system.start()
        assert door.exact
        examiner.check(system.name, door)


def test_a_gateway_with_the_whole_pipeline_gives_whole_answers(
    plait: Plait, examiner: Examiner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    further = FurtherGateway("whole", plait, DEFAULTS, ("content", "text"))
    try:
        examiner.check("whole", further.start())
        assert set(further.processes()) == {"gateway", "content", "text"}
    finally:
        further.stop()
    assert list(tmp_path.iterdir()) == [], "what it shows goes into somebody's exposure log"


def test_the_plain_fan_out_gives_the_jobs_answer(
    repository: Path, examiner: Examiner, tmp_path: Path
) -> None:
    plain = Plain(repository, tmp_path)
    try:
        examiner.check("plain", plain.start())
    finally:
        plain.stop()
    assert CHECKED >= 20
