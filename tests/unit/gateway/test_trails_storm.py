"""An acknowledged event is in the next request, whatever else is read and written just then."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.store import Store, StoreSettings
from gateway.trails import Trails
from gateway.types import Event, EventType, Trail

USERS = ("ann", "bob", "zoë", "guest")
LENGTH = 6


class Storm:
    """Shoppers who do things and ask for rankings at the same time."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.draw = random.Random(seed)
        self.trails = Trails(store.trail, capacity=2, length=LENGTH)
        self.acknowledged: dict[str, list[Event]] = {user: [] for user in USERS}
        self.number = 0

    def event(self, user: str) -> Event:
        self.number += 1
        if self.draw.random() < 0.7:  # some of them late, or at the same moment as others
            event_id = f"e{self.draw.randint(1, 200)}"
            when = self.number // 3 - self.draw.choice([0, 0, 0, 3, 500])
        else:
            event_id, when = "", self.number // 9
        kind = self.draw.choice(list(EventType)[:6])
        return Event(user, self.draw.randint(1, 9), kind, 10_000 + when, event_id=event_id)

    async def act(self) -> None:
        user = self.draw.choice(USERS)
        made = [self.event(user) for _ in range(self.draw.randint(1, 3))]

        def then(numbers: list[int]) -> None:
            new = [replace(e, number=n) for e, n in zip(made, numbers, strict=True) if n]
            self.trails.add(new)
            self.acknowledged[user] += new

        await self.store.record(made, then)

    async def ask(self) -> None:
        user = self.draw.choice(USERS)
        before = list(self.acknowledged[user])
        trail = await self.trails.get(user, 1e9)
        held = set(zip(trail.keys.tolist(), trail.times.tolist(), strict=True))
        # All that is missing made room for others, acknowledged or only just about to be: a read
        # may see what is committed before whoever sent it is told.
        oldest = min(trail.times.tolist()) if len(trail.keys) == LENGTH else 0
        missing = [e for e in before if (e.key, e.time_ms) not in held]
        assert all(e.time_ms <= oldest for e in missing), (missing, held)
        bought = {e.key for e in before if e.type is EventType.PURCHASE}
        assert bought <= set(trail.purchased.tolist())


def told(trail: Trail) -> tuple[list[tuple[int, ...]], set[int], set[int], set[tuple[int, int]]]:
    events = zip(trail.keys.tolist(), trail.types.tolist(), trail.times.tolist(), strict=True)
    judged = zip(trail.judged.tolist(), trail.judged_ms.tolist(), strict=True)
    return sorted(events), {*trail.purchased.tolist()}, {*trail.disliked.tolist()}, {*judged}


@pytest.mark.parametrize("seed", range(8))
async def test_memory_is_what_the_file_says_when_all_is_quiet(tmp_path: Path, seed: int) -> None:
    store = Store(tmp_path / "state.sqlite", StoreSettings(LENGTH))
    store.start()
    try:
        storm = Storm(store, seed)
        tasks = []
        for _ in range(150):
            work = storm.act() if storm.draw.random() < 0.5 else storm.ask()
            tasks.append(asyncio.create_task(work))
            if storm.draw.random() < 0.2:
                await asyncio.sleep(storm.draw.choice([0, 0, 0.001]))
        await asyncio.gather(*tasks)
        for user in USERS:
            assert told(await storm.trails.get(user, 1e9)) == told(await store.trail(user))
    finally:
        store.stop()
