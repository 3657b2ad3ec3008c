"""A prepared shop, and one with its gateway and four sources running."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from benchmarks.valkey import Valkey, running_valkey
from services.runtime.config import Secret
from tests.integration.gateway.world import Shop, open_shop, prepare
from tests.support.disks import Disk, small_disk


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with artifact and store that no test changes."""
    directory = tmp_path_factory.mktemp("shop")
    prepare(directory)
    return directory


@pytest.fixture
def directory(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    shutil.copytree(prepared, tmp_path / "shop")
    return tmp_path / "shop"


@pytest_asyncio.fixture
async def shop(directory: Path) -> AsyncIterator[Shop]:
    """A running gateway with four sources that are well."""
    async with open_shop(directory) as running:
        yield running


@pytest.fixture
def disk(directory: Path, tmp_path: Path) -> Iterator[Disk]:
    """The shop's directory on a disk of its own."""
    with small_disk(tmp_path / "disk", 4) as made:
        if made is None:
            pytest.skip("mounting a small file system takes root")
        shutil.copytree(directory, made.root / "shop")
        yield made


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with running_valkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def other(directory: Path, tmp_path: Path) -> Path:
    """A directory for a second gateway, with models and without a state."""
    (tmp_path / "other").mkdir()
    shutil.copytree(directory / "models", tmp_path / "other" / "models")
    return tmp_path / "other"


@pytest_asyncio.fixture
async def first(directory: Path, valkey: Valkey) -> AsyncIterator[Shop]:
    async with open_shop(directory, journal=Secret(valkey.url)) as running:
        yield running
