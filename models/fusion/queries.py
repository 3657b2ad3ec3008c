"""SEARCH: searches made up from purchases, since most data has none that were judged.

Someone who bought an item is taken to have searched for its category, or for the
first words of its title; the text source finds candidates, the others score
them, and the item bought should come first. Category searches teach how much
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

    Only buyers with a history ask.
    """
    described = items.filter(pl.col("title") != pl.col("item_id"))
    buyers = known.select("user_id").unique()
    bought = wanted.filter(pl.col("type") != "dislike").join(buyers, on="user_id", how="semi")
    bought = bought.join(
        described.select("item_key", "title", "category"), on="item_key", maintain_order="left"
    )
    drawn = bought.sample(min(searches, bought.height), seed=seed).with_row_index("number")
    by_category = (pl.col("number") % 2 == 0) & (pl.col("category") != "")
    title = pl.col("title").str.split(" ").list.head(_TITLE_WORDS).list.join(" ")
    drawn = drawn.with_columns(
        text=pl.when(by_category).then("category").otherwise(title).str.to_lowercase(),
        # Whose search it is stays in the name, as with visits (surfaces.shopper_of).
        asker=pl.col("user_id") + "#" + pl.col("number").cast(pl.String).str.zfill(8),
    )
    pairs = drawn.select("asker", "user_id")
    past = pairs.join(known, on="user_id").drop("user_id").rename({"asker": "user_id"})
    targets = drawn.drop("user_id").rename({"asker": "user_id"})
    task = make_task(past, targets, exclude_seen=False)
    texts = dict(zip(drawn["asker"].to_list(), drawn["text"].to_list(), strict=True))
    return task, tuple(texts[user] for user in task.user_ids)


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
    bought = first.join(named, on="item_key", maintain_order="left")
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
