"""A repository with tiny artifacts, and servers over it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.cf.server import SOURCE as CF
from services.runtime.server import Server
from tests.support.artifacts import Tiny, publish
from tests.support.content_artifact import publish_content
from tests.support.servers import Stub, serving, stub_for
from tests.support.text_artifact import publish_text

TINY = Tiny()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that no test changes: one version of every source."""
    repository = tmp_path_factory.mktemp("shared")
    publish(repository, TINY)
    publish(repository, Tiny(source="sequence", seed=1))
    publish_text(repository)
    publish_content(repository)
    return repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of the test's own, with cf in version 1."""
    publish(tmp_path, TINY)
    return tmp_path


@pytest_asyncio.fixture
async def server(repository: Path) -> AsyncIterator[Server]:
    """The cf service in this process, over the test's own repository."""
    async with serving(CF, repository) as running:
        yield running


@pytest_asyncio.fixture
async def stub(server: Server) -> AsyncIterator[Stub]:
    """A client of it."""
    async with stub_for(server.port) as client:
        yield client
