"""What the protos promise of a shop, in plain Python: no arrays, no caches, one thing at a time."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plait.v1 import types_pb2 as t

_OPINIONS = (t.EVENT_TYPE_LIKE, t.EVENT_TYPE_DISLIKE)
_NO_INTEREST = (t.EVENT_TYPE_DISLIKE, t.EVENT_TYPE_SEARCH)


@dataclass(frozen=True)
class Shopper:
    """Whose ranking it is, with what came with the request."""

    user_id: str
    events: tuple[t.Event, ...] = ()


class Oracle:
    """The catalogue and all that shoppers did, as the calls said that it was kept."""

    def __init__(self, items: Iterable[t.Item]) -> None:
        self.items = {item.item_id: item for item in items}
        self._events: dict[str, list[t.Event]] = defaultdict(list)
        self._event_ids: set[str] = set()

    def record(self, events: Iterable[t.Event]) -> tuple[int, int, int]:
        """Return how many are recorded, duplicates, and about unknown items."""
        recorded, duplicates, unknown = 0, 0, 0
        for event in events:
            if event.event_id and event.event_id in self._event_ids:
                duplicates += 1
                continue
            self._event_ids.add(event.event_id)
            self._events[event.user_id].append(event)
            recorded += 1
            unknown += self.lacks(event.item_id)
        return recorded, duplicates, unknown

    def upsert(self, items: Iterable[t.Item]) -> tuple[int, int]:
        """Return how many are created and updated."""
        created = updated = 0
        for item in items:
            updated += item.item_id in self.items
            created += item.item_id not in self.items
            kept = t.Item()
            kept.CopyFrom(item)
            kept.available = item.available or not item.HasField("available")
            self.items[item.item_id] = kept
        return created, updated

    def delete(self, item_ids: Iterable[str]) -> tuple[int, int]:
        """Return how many are deleted and missing."""
        gone = [self.items.pop(item_id, None) is not None for item_id in dict.fromkeys(item_ids)]
        return sum(gone), len(gone) - sum(gone)

    def lacks(self, item_id: str) -> bool:
        """Say whether an id names an item that the catalogue does not know."""
        return bool(item_id) and item_id not in self.items

    def did(self, shopper: Shopper) -> list[t.Event]:
        """Return all that a shopper did, oldest first."""
        stored = self._events[shopper.user_id] if shopper.user_id else []
        fresh = [e for e in shopper.events if not (e.event_id and e in stored)]
        return sorted([*stored, *fresh], key=lambda e: e.event_time.ToMilliseconds())

    def disliked(self, shopper: Shopper) -> set[str]:
        """Return what the shopper's newest opinion is against."""
        newest = {e.item_id: e.type for e in self.did(shopper) if e.type in _OPINIONS}
        return {item_id for item_id, kind in newest.items() if kind == t.EVENT_TYPE_DISLIKE}

    def bought(self, shopper: Shopper) -> set[str]:
        """Return what the shopper has ever bought."""
        return {e.item_id for e in self.did(shopper) if e.type == t.EVENT_TYPE_PURCHASE}

    def looked_at(self, shopper: Shopper) -> set[str]:
        """Return what the shopper has shown an interest in."""
        return {e.item_id for e in self.did(shopper) if e.type not in _NO_INTEREST}

    def verdicts(
        self, shopper: Shopper, rules: t.Rules, context: Sequence[str], item_ids: Iterable[str]
    ) -> dict[str, str]:
        """Return why each item must not be shown, "" where it may; `context`: of ITEM and CART."""
        disliked, bought = self.disliked(shopper), self.bought(shopper)
        found = {}
        for item_id in item_ids:
            item = self.items.get(item_id)
            said = (
                ("excluded", item_id in rules.exclude_item_ids),
                ("disliked", item_id in disliked),
                ("purchased", rules.exclude_purchased and item_id in bought),
                ("context", item_id in context),
                ("unavailable", item and not (item.available or rules.include_unavailable)),
                *_filtered(item or t.Item(), rules),
            )
            found[item_id] = next((reason for reason, out in said if out), "")
        return found


def _filtered(item: t.Item, rules: t.Rules) -> tuple[tuple[str, bool], ...]:
    low = rules.min_price if rules.HasField("min_price") else 0.0
    high = rules.max_price if rules.HasField("max_price") else 1e9
    ranged = rules.HasField("min_price") or rules.HasField("max_price")
    return (
        ("price_unknown", ranged and not item.HasField("price")),
        ("price", ranged and not low <= item.price <= high),
        ("category", bool(rules.categories) and item.category not in rules.categories),
        ("domain", bool(rules.domains) and item.domain not in rules.domains),
        ("brand", bool(rules.brands) and item.brand not in rules.brands),
    )
