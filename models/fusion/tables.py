"""What the ranker learns from: one table of features for each question asked in the past.

The one idea: a question is "what will this shopper buy from now on", asked at a few
moments of the held-out window; on SESSION and CART, "what else does this visit hold"; on
SEARCH, "which of what the query finds".
Sources, trends and habits know nothing after the moment, what followed is the answer, and
the features are made by the function that serves (artifacts/ranker/features.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from artifacts.engine import Engine
from artifacts.formulas import Floats, Rows, domain_log_ratio
from artifacts.ranker.features import Candidates, Past, Shelf, features, own_rows
from models.evaluate.fused import past_of
from models.evaluate.metrics import Bools
from models.evaluate.ranking import Asking, Lists, padded_history, rank
from models.evaluate.task import Task, by_strangers, make_task
from models.fusion import surfaces
from models.fusion.cases import Setting, candidates_of
from models.fusion.catalogue import codes
from models.fusion.config import TEXT, Config, Window
from models.fusion.exposures import Weigh
from models.fusion.queries import search_lists, search_task
from models.progress import Progress

# Surfaces that can have a ranker.
RANKED = ("HOME", "SESSION", "CART", "SEARCH")
# Those whose question tells a visit under way.
VISITS = ("SESSION", "CART")
# For so many searches by shoppers who are known there is one by somebody who is not.
_KNOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One question: P candidates, F features."""

    user: str
    features: Floats  # with all sources [P, F]
    target: Bools  # [P]
    wanted: int  # targets of the question, among the candidates or not
    rows: Rows  # of the catalogue [P]
    # How much each counts as a target; None: all alike [P].
    weight: Floats | None = None

    def only(self, kept: Bools) -> "Table":
        """Return the question with some of its candidates [P]; what was wanted stays."""
        return replace(
            self,
            features=self.features[kept],
            target=self.target[kept],
            rows=self.rows[kept],
            weight=None if self.weight is None else self.weight[kept],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """What is asked at once, and of a search its words, one for each user."""

    task: Task
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of items when the questions are asked; n items."""

    setting: Setting
    shelf: Shelf
    habits: Floats  # [n, H]
    # By what exposure logs say; None: targets count alike.
    weigh: Weigh | None = None
    # When the events end that answer the questions, seconds since epoch.
    until: float = float("inf")
    # Whether what a shopper had before is a candidate whoever names it.
    own: bool = True
    # Whether what a visit under way holds may be shown; in a cart it is never.
    again: bool = True


def shelf_of(items: pl.DataFrame, setting: Setting, popularity: Floats) -> Shelf:
    """Return the catalogue's columns that count, rows in ascending key order."""
    ordered = items.sort("item_key")
    price = ordered["price"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    brand, _ = codes(ordered["brand"])
    provider, _ = codes(ordered["provider"])
    catalogue = setting.catalogue
    return Shelf(catalogue.domain, catalogue.category, brand, provider, price, popularity)


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


def make_tables(
    config: Config,
    asked: Sequence[Questions],
    engines: Mapping[str, Engine],
    known: Known,
    progress: Progress,
) -> list[Table]:
    """Ask the sources, and return a table for every question with a target among its candidates."""
    tables: list[Table] = []
    for number, one in enumerate(asked):
        task, depth, asking = one.task, config.depth, config.asking
        if one.texts:
            lists = search_lists(engines, TEXT, (task, one.texts), depth, asking)
        else:
            lists = {name: rank(engine, task, depth, asking) for name, engine in engines.items()}
        tables += tables_of(task, lists, known, asking)
        progress(number + 1, len(asked), f"ranker: {len(tables):,} questions answered")
    return tables


def tables_of(
    task: Task, lists: Mapping[str, Lists], known: Known, asking: Asking
) -> Iterator[Table]:
    """Yield a table for every user with a target among the candidates."""
    history, weight = padded_history(task, np.arange(len(task.user_ids)), asking)
    catalogue = known.setting.catalogue
    for user, user_id in enumerate(task.user_ids):
        keys, age, worth = past_of(task, user)
        past = Past(catalogue.rows(keys), age, worth)
        named = history[user] != 0
        recent = catalogue.rows(history[user][named]), weight[user][named]
        candidates, shown = _candidates(task, user, lists, known, (past, *recent))
        mine = slice(task.targets.starts[user], task.targets.starts[user + 1])
        targets = task.targets.keys[mine]
        keys = catalogue.keys[candidates.rows]
        target = np.isin(keys, targets, assume_unique=True)
        if target[shown].any():
            table = features(candidates, past, known.shelf)
            counts: Floats | None = None
            if known.weigh is not None:
                counts = known.weigh(user_id, keys, float(task.now[user]), known.until)
            asked = Table(user_id, table, target, len(targets), candidates.rows, counts)
            # Ranks and leads are among all that was named, as in serving.
            yield asked if shown.all() else asked.only(shown)


def _candidates(
    task: Task,
    user: int,
    lists: Mapping[str, Lists],
    known: Known,
    theirs: tuple[Past, np.ndarray, Floats],
) -> tuple[Candidates, Bools]:
    """Return the candidates of a question, and which of them may be shown [P]."""
    setting, catalogue = known.setting, known.setting.catalogue
    answers = [(s, found.keys[user], found.scores[user]) for s, found in lists.items()]
    own = None
    if known.own and not task.exclude_seen:
        own = catalogue.keys[own_rows(theirs[0])]
    found = candidates_of(task, user, answers, setting, own)
    pool = catalogue.rows(found.keys)
    now = float(task.now[user]) if task.timed else float("nan")
    trend = setting.trends(task.market[user], now)
    candidates = Candidates(
        rows=pool,
        scores=found.scores,
        calibrated=found.calibrated,
        trend=np.zeros(len(pool), np.float32) if trend is None else trend[pool],
        crossing=_crossing(setting, pool, theirs[1], theirs[2]),
        habits=known.habits[pool],
    )
    return candidates, ~(found.hidden | (found.told & (not known.again)))


def _crossing(setting: Setting, pool: np.ndarray, past: np.ndarray, weight: Floats) -> Floats:
    """Return the log-odds of each candidate's domain given those of the history [P]."""
    domain = setting.catalogue.domain
    usable = (domain[past] >= 0) & (weight > 0)
    if not usable.any():
        return np.zeros(len(pool), np.float32)
    ratio = domain_log_ratio(domain[past][usable], weight[usable], setting.transition, setting.fade)
    crossing: Floats = np.where(domain[pool] >= 0, ratio[domain[pool]], np.float32(0))
    return crossing
