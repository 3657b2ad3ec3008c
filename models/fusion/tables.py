"""What the ranker learns from: one table of features for each question asked in the past.

The one idea: a question is "what will this shopper buy from now on", asked at a few
moments of the held-out window; on SESSION and CART, "what else does this visit hold"; on
SEARCH, "which of what the query finds".
Sources, trends and habits know nothing after the moment, what followed is the answer, and
the features are made by the function that serves (artifacts/ranker/features.py). Some
questions are asked once more as if no source had answered: what a shopper buys again, and
what sells, is then still to be put in order (artifacts/ranker/shelf.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from artifacts.engine import Engine
from artifacts.formulas import Floats, Rows, domain_log_ratio
from artifacts.ranker.features import Candidates, Past, Shelf, features, own_rows
from artifacts.ranker.shelf import selling, shelf
from models.evaluate.fused import disliked_by, past_of
from models.evaluate.metrics import Bools, Keys
from models.evaluate.ranking import Asking, Lists, padded_history, rank
from models.evaluate.task import Task, by_strangers, make_task
from models.fusion import surfaces
from models.fusion.cases import Setting, candidates_of, leading_of
from models.fusion.catalogue import Catalogue, codes
from models.fusion.config import TEXT, Config, Window
from models.fusion.exposures import Weigh
from models.fusion.queries import search_lists, search_task
from models.progress import Progress

# Surfaces that can have a ranker.
RANKED = ("HOME", "SESSION", "CART", "SEARCH")
# Those whose question tells a visit under way.
VISITS = ("SESSION", "CART")
# Of so many questions one is asked without sources too.
_UNANSWERED = 3
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
    # What sells most just now: candidates whoever names them; None: nothing [P].
    leading: Bools | None = None

    def only(self, kept: Bools) -> "Table":
        """Return the question with some of its candidates [P]; what was wanted stays."""
        return replace(
            self,
            features=self.features[kept],
            target=self.target[kept],
            rows=self.rows[kept],
            weight=None if self.weight is None else self.weight[kept],
            leading=None if self.leading is None else self.leading[kept],
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
    pasts = _Pasts(task, known, asking)
    for user in range(len(task.user_ids)):
        answers = [(s, found.keys[user], found.scores[user]) for s, found in lists.items()]
        yield from _table(task, user, answers, known, pasts.of(user))


def unanswered(
    asked: Sequence[Questions], sources: Sequence[str], known: Known, asking: Asking
) -> Iterator[Table]:
    """Yield tables of some of the questions as they are had no source answered.

    Of shoppers who have a past: without, nothing tells more than what sells. Not of
    searches: what sells answers none.
    """
    nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
    for number, task in enumerate(one.task for one in asked if not one.texts):
        pasts = _Pasts(task, known, asking)
        for user in range(number % _UNANSWERED, len(task.user_ids), _UNANSWERED):
            theirs = pasts.of(user)
            if len(theirs[0].rows):
                answers = [(source, *nothing) for source in sources]
                yield from _table(task, user, answers, known, theirs)


class _Pasts:
    """What the users of a task did, as the ranker and as the models are told."""

    def __init__(self, task: Task, known: Known, asking: Asking) -> None:
        self._task, self._catalogue = task, known.setting.catalogue
        everyone = np.arange(len(task.user_ids))
        self._history, self._weight = padded_history(task, everyone, asking)

    def of(self, user: int) -> tuple[Past, Rows, Floats]:
        """Return a user's past, and the history's rows and weights."""
        keys, age, worth = past_of(self._task, user)
        named = self._history[user] != 0
        recent = self._catalogue.rows(self._history[user][named])
        return Past(self._catalogue.rows(keys), age, worth), recent, self._weight[user][named]


def _table(
    task: Task,
    user: int,
    answers: Sequence[tuple[str, Keys, Floats]],
    known: Known,
    theirs: tuple[Past, Rows, Floats],
) -> Iterator[Table]:
    """Yield the table of a question, if there is a target among its candidates."""
    user_id = task.user_ids[user]
    candidates, shown, leads = _candidates(task, user, answers, known, theirs)
    mine = slice(task.targets.starts[user], task.targets.starts[user + 1])
    targets = task.targets.keys[mine]
    keys = known.setting.catalogue.keys[candidates.rows]
    target = np.isin(keys, targets, assume_unique=True)
    if target[shown].any():
        table = features(candidates, theirs[0], known.shelf)
        counts: Floats | None = None
        if known.weigh is not None:
            counts = known.weigh(user_id, keys, float(task.now[user]), known.until)
        asked = Table(user_id, table, target, len(targets), candidates.rows, counts, leads)
        # Ranks and leads are among all that was named, as in serving.
        yield asked if shown.all() else asked.only(shown)


def _candidates(
    task: Task,
    user: int,
    answers: Sequence[tuple[str, Keys, Floats]],
    known: Known,
    theirs: tuple[Past, Rows, Floats],
) -> tuple[Candidates, Bools, Bools]:
    """Return a question's candidates, which may be shown, and which sell most now [P]."""
    setting, catalogue = known.setting, known.setting.catalogue
    now = float(task.now[user]) if task.timed else float("nan")
    trend = setting.trends(task.market[user], now)
    own = leads = leading_of(task, user, setting, trend)
    if known.own and not task.exclude_seen:
        own = np.union1d(own, catalogue.keys[own_rows(theirs[0])])
    if not any(len(keys) for _, keys, _ in answers):
        out = _forbidden(task, user, catalogue, told=task.exclude_seen or not known.again)
        sells = catalogue.keys[_selling(known, trend, theirs[0], out)]
        own = np.union1d(own, sells)
    found = candidates_of(task, user, answers, setting, own)
    pool = catalogue.rows(found.keys)
    candidates = Candidates(
        rows=pool,
        scores=found.scores,
        calibrated=found.calibrated,
        trend=np.zeros(len(pool), np.float32) if trend is None else trend[pool],
        crossing=_crossing(setting, pool, theirs[1], theirs[2]),
        habits=known.habits[pool],
    )
    shown = ~(found.hidden | (found.told & (not known.again)))
    return candidates, shown, np.isin(found.keys, leads)


def _selling(known: Known, trend: Floats | None, past: Past, out: Rows) -> Rows:
    """Return the rows of the shelf that serving falls back to for a shopper; none of `out`."""
    kinds = known.setting.catalogue.category
    sells = selling(known.shelf.popularity, trend).copy()
    sells[out] = 0
    return shelf(sells, kinds, kinds[past.rows])


def _forbidden(task: Task, user: int, catalogue: Catalogue, *, told: bool) -> Rows:
    """Return the rows that a user must not be shown, with `told` those of the history too."""
    mine = slice(task.history.starts[user], task.history.starts[user + 1 if told else user])
    return catalogue.rows(np.concatenate([disliked_by(task, user), task.history.keys[mine]]))


def _crossing(setting: Setting, pool: np.ndarray, past: np.ndarray, weight: Floats) -> Floats:
    """Return the log-odds of each candidate's domain given those of the history [P]."""
    domain = setting.catalogue.domain
    usable = (domain[past] >= 0) & (weight > 0)
    if not usable.any():
        return np.zeros(len(pool), np.float32)
    ratio = domain_log_ratio(domain[past][usable], weight[usable], setting.transition, setting.fade)
    crossing: Floats = np.where(domain[pool] >= 0, ratio[domain[pool]], np.float32(0))
    return crossing
