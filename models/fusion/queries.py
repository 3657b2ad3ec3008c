"""SEARCH: what shoppers typed and what followed; where nobody typed, searches made up.

Where events say which query led to them, that query is the search, and what it led to
is looked for. Someone who bought without one is taken to have searched for the item's
category, or for the first words of its title. The text source finds candidates, the
others score them, and what was taken should come first. Category searches teach how much
taste counts among equals, title searches how much the words do.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from artifacts.engine import Engine, Question
from models.evaluate.ranking import Asking, Lists, padded_history, padded_told
from models.evaluate.task import Task, make_task
from models.fusion.surfaces import visits

_BATCH = 32
_TITLE_WORDS = 2


def search_task(
    items: pl.DataFrame, known: pl.DataFrame, wanted: pl.DataFrame, *, searches: int, seed: int
) -> tuple[Task, tuple[str, ...]]:
    """Return a task with one question per search, and the text of each.

    Only buyers with a history ask. Typed searches come first, each once for each shopper
    with all that it led to; made-up ones fill up to `searches`.
    """
    buyers = known.select("user_id").unique()
    taken = wanted.filter(pl.col("type") != "dislike").join(buyers, on="user_id", how="semi")
    real = _drawn(typed(taken), searches, seed)
    made = _made_up(items, taken, searches - real.n_unique("asker"), seed)
    asked = pl.concat([real, made], how="diagonal")
    past = asked.select("asker", "user_id").unique(maintain_order=True)
    past = past.join(known, on="user_id").drop("user_id").rename({"asker": "user_id"})
    targets = asked.drop("user_id").rename({"asker": "user_id"})
    task = make_task(past, targets, exclude_seen=False)
    return task, _of_askers(task, targets)


def typed_searches(
    known: pl.DataFrame, wanted: pl.DataFrame, *, users: int | None = None, seed: int = 0
) -> tuple[Task, tuple[str, ...]]:
    """Return each user's first typed search after what is known, and what it led to."""
    asked = typed(wanted.filter(pl.col("type") != "dislike")).sort("time", "order")
    first = asked.unique("user_id", keep="first", maintain_order=True)
    targets = asked.join(first, on=["user_id", "text"], how="semi", maintain_order="left")
    task = make_task(known, targets, exclude_seen=False, users=users, seed=seed)
    return task, _of_askers(task, targets)


def typed(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events that a query led to, with its `text` as searches compare it."""
    return events.with_columns(text=_words()).filter(pl.col("text") != "")


def _words() -> pl.Expr:
    """What was typed before an event; "" for nothing."""
    return pl.col("query").fill_null("").str.strip_chars().str.to_lowercase()


def _drawn(asked: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """Return `most` searches, all that each led to; `asker` names the search."""
    each = asked.select("user_id", "text").unique().sort("user_id", "text")
    each = _named(each.sample(min(most, each.height), seed=seed), "?")
    return asked.join(each, on=["user_id", "text"], maintain_order="left")


def _made_up(items: pl.DataFrame, bought: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """Return `most` searches for what was bought without one, as far as it is described."""
    described = items.filter(pl.col("title") != pl.col("item_id"))
    untyped = bought.filter(_words() == "")
    words = described.select("item_key", "title", "category")
    bought = untyped.join(words, on="item_key", how="inner", maintain_order="left")
    drawn = bought.sample(min(most, bought.height), seed=seed).with_row_index("number")
    by_category = (pl.col("number") % 2 == 0) & (pl.col("category") != "")
    title = pl.col("title").str.split(" ").list.head(_TITLE_WORDS).list.join(" ")
    text = pl.when(by_category).then("category").otherwise(title).str.to_lowercase()
    named = _named(drawn.with_columns(text=text), "")
    return named.drop("number", "title", "category")


def _named(searches: pl.DataFrame, mark: str) -> pl.DataFrame:
    """Name each search: whose it is stays in the name, as with visits (surfaces.shopper_of)."""
    number = pl.int_range(pl.len()).cast(pl.String).str.zfill(8)
    return searches.with_columns(asker=pl.col("user_id") + "#" + mark + number)


def _of_askers(task: Task, asked: pl.DataFrame) -> tuple[str, ...]:
    """Return the text of each user's search; `asked` has the columns user_id and text."""
    texts = dict(asked.select("user_id", "text").iter_rows())
    return tuple(texts[user] for user in task.user_ids)


def basket_searches(
    items: pl.DataFrame,
    known: pl.DataFrame,
    wanted: pl.DataFrame,
    *,
    times: str,
    users: int | None = None,
    seed: int = 0,
) -> tuple[Task, tuple[str, ...]]:
    """Return one search for each user: a category of the next basket, and what it held of it.

    The category is drawn at random (seeded) among those of the user's first visit
    after what is known; `times` is the dataset's.
    """
    named = items.filter(pl.col("category") != "").select("item_key", "category")
    every = visits(wanted, times, most=wanted.height, seed=seed, least=1)
    number = pl.col("user_id").str.split("#").list.last().cast(pl.Int64)
    first = every.filter(number == number.min().over("shopper"))
    bought = first.filter(pl.col("type") != "dislike")
    bought = bought.join(named, on="item_key", maintain_order="left")
    asked = bought.select("shopper", "category").unique().sort("shopper", "category")
    lot = pl.Series("lot", np.random.default_rng(seed).random(asked.height))
    asked = asked.with_columns(lot).filter(pl.col("lot") == pl.col("lot").min().over("shopper"))
    targets = bought.join(asked, on=["shopper", "category"], how="semi")
    targets = targets.drop("user_id").rename({"shopper": "user_id"})
    task = make_task(known, targets, exclude_seen=False, users=users, seed=seed)
    texts = dict(asked.select("shopper", "category").iter_rows())
    return task, tuple(texts[user].lower() for user in task.user_ids)


def by_score(lists: Lists) -> Lists:
    """Return every list with its best score first; what has none stays last."""
    order = np.argsort(-np.nan_to_num(lists.scores, nan=-np.inf), axis=1, kind="stable")
    return Lists(
        np.take_along_axis(lists.keys, order, axis=1),
        np.take_along_axis(lists.scores, order, axis=1),
    )


def search_lists(
    engines: Mapping[str, Engine],
    finder: str,
    asked: tuple[Task, Sequence[str]],
    depth: int,
    asking: Asking,
) -> dict[str, Lists]:
    """Let `finder` find `depth` candidates per search and every other engine score them."""
    task, texts = asked
    size = len(task.user_ids)
    keys = np.zeros((size, depth), np.int64)
    scores = {name: np.full((size, depth), np.nan, np.float32) for name in engines}
    for start in range(0, size, _BATCH):
        at = np.arange(start, min(start + _BATCH, size))
        history, weight = padded_history(task, at, asking)
        types, ages = padded_told(task, at, history.shape[1])
        nothing = np.zeros((len(at), 0))
        found = engines[finder].run(
            Question(
                history=nothing.astype(np.int64),
                history_weight=nothing.astype(np.float32),
                query=tuple(texts[i] for i in at.tolist()),
                k=np.full(len(at), depth, np.int64),
            )
        )
        if found.item_keys is None:
            raise TypeError(f"{finder}: no item_keys in a retrieve answer")
        keys[at], scores[finder][at] = found.item_keys[:, :depth], found.scores[:, :depth]
        for name, engine in engines.items():
            if name != finder:
                question = Question(
                    history=history,
                    history_weight=weight,
                    candidates=keys[at],
                    history_type=types,
                    history_age=ages,
                )
                scores[name][at] = engine.run(question).scores
    return {name: Lists(np.where(np.isnan(s), 0, keys), s) for name, s in scores.items()}
