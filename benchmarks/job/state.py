"""The gateway's memory for the job: the items, and every shopper's history as purchases.

Purchases weigh 1 whatever their age, so a stored history says exactly what the
plain list of keys says to the other systems.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.job.publish import DOMAINS
from benchmarks.job.wire import shopper_id
from benchmarks.job.world import World
from gateway.seed import EventBatch, seed
from gateway.types import Item

_HOUR_MS = 3_600_000
# The newest events of a shopper are of this moment's session, as on a real storefront.
_IN_SESSION = 3


def write_state(path: Path, shop: World, shoppers: int, lengths: Sequence[int]) -> None:
    """Write a state file: the catalogue and `shoppers` histories of each length."""
    seed(path, _items(shop), _events(shop, shoppers, lengths))


def _items(shop: World) -> Iterator[Item]:
    for key, cluster in zip(shop.keys.tolist(), shop.cluster.tolist(), strict=True):
        yield Item(
            item_id=str(key),
            key=key,
            title=f"Item {key} of kind {cluster}",
            domain=f"domain {cluster % DOMAINS}",
            category=f"kind {cluster}",
            brand=f"brand {key % 97}",
            price=float(key % 1_000) / 10 + 1,
        )


def _events(shop: World, shoppers: int, lengths: Sequence[int]) -> Iterator[EventBatch]:
    now = int(time.time() * 1000)
    for length in lengths:
        ages = [_HOUR_MS * (length - i) for i in range(length)]
        ages[-_IN_SESSION:] = [60_000 * (_IN_SESSION - i) for i in range(_IN_SESSION)]
        for number, history in enumerate(shop.histories(shoppers, length).tolist()):
            yield EventBatch(
                user_ids=[shopper_id(number, length)] * length,
                item_keys=history,
                types=["purchase"] * length,
                times_ms=[now - age for age in ages],
                quantities=[1.0] * length,
                prices=[None] * length,
                markets=[""] * length,
                queries=[None] * length,
            )
