"""Cycles are found whenever they come to be, and the process is not stopped to look at the rest."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from services.runtime import garbage


class Node:
    """Something that can hold itself."""

    def __init__(self) -> None:
        self.other: object = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_what_is_left_at_the_start_is_looked_at_no_more() -> None:
    kept = [Node() for _ in range(100)]
    garbage.settle()
    assert gc.get_freeze_count() >= len(kept)
    assert not any(isinstance(found, Node) for found in gc.get_objects())


async def test_cycles_that_grew_old_are_found_soon_and_those_set_aside_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(garbage, "_EVERYTHING", 3)
    garbage.settle()
    old, aside = Node(), Node()
    old_gone, aside_gone = asyncio.Event(), asyncio.Event()
    watched = (
        weakref.ref(old, lambda _: old_gone.set()),
        weakref.ref(aside, lambda _: aside_gone.set()),
    )
    gc.collect()  # both are of the oldest generation now
    del old
    rounds = asyncio.create_task(garbage.look_after(0.01))
    await old_gone.wait()
    assert watched[1]() is aside
    del aside  # set aside with the rest that was alive
    await aside_gone.wait()
    rounds.cancel()
