"""The gateway's state as the journal's entries are taken into it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.events import EventTaker
from gateway.forgetting import Forgetter
from gateway.journal.entries import Change, Deletions, Events, Forgotten, Items, Rollouts
from gateway.journal.place import Place
from gateway.keeper import CatalogueKeeper
from gateway.store import Store


@dataclass(frozen=True, slots=True)
class StateMemory:
    """Hands each entry to who keeps what it is about (see taking.Memory)."""

    store: Store
    events: EventTaker
    keeper: CatalogueKeeper
    forgetter: Forgetter
    rollouts: Callable[[str], None]

    async def take_events(
        self, events: Events, position: int, here: Sequence[bool]
    ) -> Sequence[int]:
        """Record events; raises StoreFailed."""
        return await self.events.take(events.events, position, here)

    async def take(self, write: Change, position: int) -> Any:
        """Change the catalogue, forget a shopper or roll out; raises StoreFailed."""
        match write:
            case Items(items):
                return await self.keeper.take(items, position)
            case Deletions(keys):
                return await self.keeper.drop(keys, position)
            case Forgotten(user_id):
                return await self.forgetter.take(user_id, position)
            case Rollouts(record):
                # Its position comes with the next write: taking it twice changes nothing.
                return self.rollouts(record)

    async def pass_over(self, place: Place) -> None:
        """Keep a place; raises StoreFailed."""
        await self.store.put_place(place)
