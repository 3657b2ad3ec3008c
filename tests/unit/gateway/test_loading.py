"""Trends after a start, whatever the clock of an earlier start said."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from gateway.config import GatewayConfig
from gateway.loading import State, load_state
from gateway.store import Store, StoreSettings
from gateway.types import Event, EventType
from tests.unit.gateway.test_catalogue import FUSION, item

DAY = 86_400_000
NOW = 1_800_000_000_000
YEARS = 10 * 365 * DAY


class Machine:
    """One whose clock is set by hand, and a gateway's state on it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config = GatewayConfig(state=path, sources=("cf=h:1",), item_encoders=())
        self.now = NOW
        monkeypatch.setattr(time, "time", lambda: self.now / 1000)

    def visit(self, *sold: str) -> dict[str, float]:
        """Start, sell something, and stop; return the trends as they were at the start."""
        state = load_state(self.config, FUSION)
        found = {
            i: float(state.trends.now("m", 2, self.now)[state.catalogue.row_of(i)]) for i in "12"
        }
        asyncio.run(self.sell(state, sold))
        state.store.stop()
        return found

    async def sell(self, state: State, sold: tuple[str, ...]) -> None:
        async def save() -> None:
            keys = state.catalogue.columns.keys
            await state.store.put_trends(
                state.trends.snapshots(keys, self.now), state.trends.last_seq
            )

        await save()
        events = [Event("u", int(i), EventType.PURCHASE, self.now, market="m") for i in sold]

        def then(numbers: list[int]) -> None:
            for event in events:
                row = state.catalogue.row_of(str(event.key))
                state.trends.add("m", row, event.type, 1.0, event.time_ms)
            state.trends.last_seq = max(numbers)

        if events:
            await state.store.record(events, then)
        await save()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    path = tmp_path / "state.sqlite"
    store = Store(path, StoreSettings(5))
    store.start()
    asyncio.run(put_items(store))
    store.stop()
    return Machine(path, monkeypatch)


async def put_items(store: Store) -> None:
    await store.upsert_items([item("1"), item("2")], (), lambda _: None)


@pytest.mark.parametrize("sold_ahead", [(), ("2",)])
def test_a_start_with_a_clock_that_is_years_ahead_costs_no_trends(
    machine: Machine, sold_ahead: tuple[str, ...]
) -> None:
    machine.visit(*"111111111")
    machine.now = NOW + YEARS
    machine.visit(*sold_ahead)
    machine.now = NOW + DAY // 2
    shown = machine.visit(*"222222222")
    assert shown["1"] == 1
    assert shown["2"] == pytest.approx(np.sqrt(len(sold_ahead) / 9), abs=0.05)
    machine.now = NOW + DAY
    assert min(machine.visit().values()) > 0.8


def test_a_clock_that_is_not_set_yet_reads_the_trends_of_before(machine: Machine) -> None:
    machine.visit(*"111111111")
    machine.now = NOW
    machine.visit(*"111111111")
    machine.now = 1_000_000
    assert machine.visit() == {"1": 1.0, "2": 0.0}
    machine.now = NOW + DAY
    assert machine.visit()["1"] == 1.0
