"""What the ranker learns from: one table of features for each question asked in the past.

The one idea: sources, trends and habits know nothing after the moment of a question
(models/fusion/asked.py), what followed is the answer, and the features are made by the
function that serves (artifacts/ranker/features.py). Some questions are asked once more as
if no source had answered: what a shopper buys again, and what sells, is then still to be
put in order (artifacts/ranker/shelf.py).
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
from models.evaluate.task import Task
from models.fusion.asked import Questions
from models.fusion.cases import Setting, candidates_of, leading_of
from models.fusion.catalogue import codes
from models.fusion.config import TEXT, Config
from models.fusion.exposures import Weigh
from models.fusion.queries import search_lists
from models.progress import Progress

# Of so many questions one is asked without sources too.
_UNANSWERED = 3


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
class Known:
    """What is known of items when the questions are asked; n items."""

    setting: Setting
    shelf: Shelf
    habits: Floats  # [n, H]
    # By what exposure logs say; None: targets count alike.
    weigh: Weigh | None = None
    # Before when the events lie that answer the questions, seconds since epoch.
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
    making = _Making(task, known, asking)
    for user in range(len(task.user_ids)):
        answers = [(s, found.keys[user], found.scores[user]) for s, found in lists.items()]
        yield from making.table(user, answers, making.past(user))


def unanswered(
    asked: Sequence[Questions], sources: Sequence[str], known: Known, asking: Asking
) -> Iterator[Table]:
    """Yield tables of some of the questions as they are had no source answered.

    Of shoppers who have a past: without, nothing tells more than what sells. Not of
    searches: what sells answers none.
    """
    nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
    for number, task in enumerate(one.task for one in asked if not one.texts):
        making = _Making(task, known, asking)
        for user in range(number % _UNANSWERED, len(task.user_ids), _UNANSWERED):
            past = making.past(user)
            if len(past.rows):
                answers = [(source, *nothing) for source in sources]
                yield from making.table(user, answers, past)


class _Making:
    """Makes the tables of a task's users."""

    def __init__(self, task: Task, known: Known, asking: Asking) -> None:
        self._task, self._known, self._catalogue = task, known, known.setting.catalogue
        everyone = np.arange(len(task.user_ids))
        self._history, self._weight = padded_history(task, everyone, asking)

    def past(self, user: int) -> Past:
        """Return what a user did, as the ranker is told."""
        keys, age, worth = past_of(self._task, user)
        return Past(self._catalogue.rows(keys), age, worth)

    def table(
        self, user: int, answers: Sequence[tuple[str, Keys, Floats]], past: Past
    ) -> Iterator[Table]:
        """Yield the table of a user's question, if there is a target among its candidates."""
        task, known = self._task, self._known
        candidates, shown, leads = self._candidates(user, answers, past)
        mine = slice(task.targets.starts[user], task.targets.starts[user + 1])
        targets = task.targets.keys[mine]
        keys = self._catalogue.keys[candidates.rows]
        target = np.isin(keys, targets, assume_unique=True)
        if target[shown].any():
            table = features(candidates, past, known.shelf)
            user_id, counts = task.user_ids[user], None
            if known.weigh is not None:
                counts = known.weigh(user_id, keys, float(task.now[user]), known.until)
            asked = Table(user_id, table, target, len(targets), candidates.rows, counts, leads)
            # Ranks and leads are among all that was named, as in serving.
            yield asked if shown.all() else asked.only(shown)

    def _candidates(
        self, user: int, answers: Sequence[tuple[str, Keys, Floats]], past: Past
    ) -> tuple[Candidates, Bools, Bools]:
        """Return a question's candidates, which may be shown, and which sell most now [P]."""
        task, known, setting = self._task, self._known, self._known.setting
        now = float(task.now[user]) if task.timed else float("nan")
        trend = setting.trends(task.market[user], now)
        own = leads = leading_of(task, user, setting, trend)
        if known.own and not task.exclude_seen:
            own = np.union1d(own, self._catalogue.keys[own_rows(past)])
        if not any(len(keys) for _, keys, _ in answers):
            sells = _selling(known, trend, past, self._forbidden(user))
            own = np.union1d(own, self._catalogue.keys[sells])
        found = candidates_of(task, user, answers, setting, own)
        pool = self._catalogue.rows(found.keys)
        candidates = Candidates(
            rows=pool,
            scores=found.scores,
            calibrated=found.calibrated,
            trend=np.zeros(len(pool), np.float32) if trend is None else trend[pool],
            crossing=self._crossing(user, pool),
            habits=known.habits[pool],
        )
        shown = ~(found.hidden | (found.told & (not known.again)))
        return candidates, shown, np.isin(found.keys, leads)

    def _forbidden(self, user: int) -> Rows:
        """Return the rows that a user must not be shown, of the history too where that is so."""
        task = self._task
        told = task.exclude_seen or not self._known.again
        mine = slice(task.history.starts[user], task.history.starts[user + 1 if told else user])
        return self._catalogue.rows(
            np.concatenate([disliked_by(task, user), task.history.keys[mine]])
        )

    def _crossing(self, user: int, pool: Rows) -> Floats:
        """Return the log-odds of each candidate's domain given those of the history [P]."""
        setting, domain = self._known.setting, self._catalogue.domain
        named = self._history[user] != 0
        past, weight = self._catalogue.rows(self._history[user][named]), self._weight[user][named]
        usable = (domain[past] >= 0) & (weight > 0)
        if not usable.any():
            return np.zeros(len(pool), np.float32)
        ratio = domain_log_ratio(
            domain[past][usable], weight[usable], setting.transition, setting.fade
        )
        crossing: Floats = np.where(domain[pool] >= 0, ratio[domain[pool]], np.float32(0))
        return crossing


def _selling(known: Known, trend: Floats | None, past: Past, out: Rows) -> Rows:
    """Return the rows of the shelf that serving falls back to for a shopper; none of `out`."""
    kinds = known.setting.catalogue.category
    sells = selling(known.shelf.popularity, trend).copy()
    sells[out] = 0
    return shelf(sells, kinds, kinds[past.rows])
