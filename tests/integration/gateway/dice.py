"""What a random walk draws: events, items, rules, and what may be wrong with a source."""

import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from plait.v1 import types_pb2 as t
from tests.integration.gateway.world import CATEGORIES, DOMAINS


class Dice(random.Random):
    """Draws for a shop in market m; no two events happen at one moment."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.now = int(time.time() * 1000)

    def event(self, user_id: str, item_id: str) -> t.Event:
        self.now += 1
        kind = self.choice([*t.EventType.values()][1:])
        made = t.Event(user_id=user_id, item_id=item_id, type=kind, market="m")
        if user_id and self.random() < 0.6:
            made.event_id = f"{user_id}-{self.now}"
        days = self.choice((0, 0, 5))
        made.event_time.FromMilliseconds(self.now - days * 86_400_000)
        return made

    def item(self, item_id: str) -> t.Item:
        made = t.Item(
            item_id=item_id,
            title=f"{self.choice(('Yogurt', 'Soap'))} {item_id} {self.random()}",
            domain=self.choice((*DOMAINS, "GARDEN", "")),
            category=self.choice((*CATEGORIES, "SPADES", "")),
            brand=self.choice(("brand 1", "brand 2", "")),
        )
        if self.random() < 0.8:
            made.price = self.choice((0, 0.1, 3, 9.99, 1e9))
        if self.random() < 0.4:
            made.available = self.random() < 0.5
        return made

    def rules(self, item_ids: Sequence[str]) -> t.Rules:
        """Each rule now and then."""
        made = t.Rules()
        for name in ("exclude_item_ids", "pin_item_ids", "bury_item_ids"):
            if self.random() < 0.3:
                getattr(made, name).extend(self.choices(item_ids, k=4))
        made.exclude_purchased, made.include_unavailable = self.random() < 0.3, self.random() < 0.2
        for name, values in (("min_price", (0, 0.1, 3)), ("max_price", (3, 9.99, 1e9))):
            if self.random() < 0.15:
                setattr(made, name, self.choice(values))
        some = {"categories": CATEGORIES, "domains": DOMAINS, "brands": ("brand 1", "brand 2")}
        for name, names in some.items():
            if self.random() < 0.1:
                getattr(made, name).extend(self.sample(names, 2))
        if self.random() < 0.3:
            made.boosts.add(domain="DRUG", weight=self.choice((-10, 0.5, 10)))
        return made


def few(outputs: dict[str, Any]) -> dict[str, Any]:
    return {n: a[:, :3] for n, a in outputs.items()} if "item_keys" in outputs else outputs


def foreign(outputs: dict[str, Any]) -> dict[str, Any]:
    return {n: a + 1_000_000 if n == "item_keys" else a for n, a in outputs.items()}


def no_numbers(outputs: dict[str, Any]) -> dict[str, Any]:
    return {n: a * np.nan if n == "scores" else a for n, a in outputs.items()}


def infinite(outputs: dict[str, Any]) -> dict[str, Any]:
    def some(scores: Any) -> Any:
        every_third = np.arange(scores.shape[1]) % 3 == 0
        return np.where(every_third, np.float32(np.inf), scores)

    return {n: some(a) if n == "scores" else a for n, a in outputs.items()}
