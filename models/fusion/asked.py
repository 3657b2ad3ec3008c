"""What the rankers are asked of a window of events, surface by surface.

The one idea: a question is "what will this shopper buy from now on", asked at a few
moments of the held-out window; on SESSION and CART, "what else does this visit hold"; on
SEARCH, "which of what the query finds".
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from models.evaluate.task import Task, by_strangers, make_task
from models.fusion import surfaces
from models.fusion.config import Config, Window
from models.fusion.queries import search_task

# Surfaces that can have a ranker.
RANKED = ("HOME", "SESSION", "CART", "SEARCH")
# Those whose question tells a visit under way.
VISITS = ("SESSION", "CART")
# For so many searches by shoppers who are known there is one by somebody who is not.
_KNOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """What is asked at once, and of a search its words, one for each user."""

    task: Task
    texts: tuple[str, ...] = ()


def questions(
    config: Config, surface: str, window: Window, items: pl.DataFrame, *, exclude_seen: bool
) -> list[Questions]:
    """Return what is asked of a window on a surface that can have a ranker."""
    if surface == "HOME":
        return [*map(Questions, moments(config, window, exclude_seen=exclude_seen))]
    most, seed = config.ranker_visits, config.seed
    if surface == "SEARCH":
        return _searches(items, window, most, seed)
    visits = surfaces.visits(window.wanted, "time", most=most, seed=seed)
    if not visits.height:
        return []
    if surface == "SESSION":
        return [Questions(surfaces.begun_task(visits, seed))]
    # Models name what is in the cart too: as in serving.
    return [Questions(surfaces.cart_task(visits, most, seed, exclude_seen=False))]


def _searches(items: pl.DataFrame, window: Window, most: int, seed: int) -> list[Questions]:
    """Return searches by shoppers who are known, and fewer others by strangers."""
    known, wanted = window.known, window.wanted
    mine = search_task(items, known, wanted, searches=most, seed=seed + 1)
    others = search_task(items, known, wanted, searches=most // _KNOWN, seed=seed + 2)
    both = Questions(*mine), Questions(by_strangers(others[0]), others[1])
    return [asked for asked in both if asked.texts]


def moments(config: Config, window: Window, *, exclude_seen: bool) -> Iterator[Task]:
    """Yield the questions of each moment; the first is the window's begin."""
    time = window.wanted["time"]
    first, last = time.min(), time.max()
    for number in range(config.moments):
        # The last moment leaves more than half of the window to answer it.
        cut = first + (last - first) * 0.2 * number  # type: ignore[operator]
        before = pl.col("time") < cut
        yield make_task(
            pl.concat([window.known, window.wanted.filter(before)]),
            window.wanted.filter(~before),
            exclude_seen=exclude_seen,
            users=config.ranker_users,
            seed=config.seed + number,
        )
