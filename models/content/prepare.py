"""What the content model learns from: item features, and histories with what came next."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from artifacts.engine import Scores
from artifacts.engines.item_tower import hash_features
from artifacts.item_text import item_text
from artifacts.keys import Keys
from models.content.model import Items
from models.data.interactions import EVENT_WEIGHTS, Interactions
from models.data.schema import check_images
from models.evaluate.ranking import Asking
from models.progress import Progress, silent
from models.text.encode import encode_texts

_TEXT_WIDTH = 384
_DAY = 86_400.0
# Prices that differ less, about one in a hundred, are the same: divided by what rounding
# alone leaves between equal ones, they would be noise.
_LEAST_SPREAD = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """All items, ascending by key: row i + 1 of every model is keys[i]."""

    keys: Keys  # int64 [n]
    features: Items
    price_mean: float  # of log(1 + price)
    price_scale: float
    image_mean: torch.Tensor  # [image] of the items that have one


def catalogue(
    items: pl.DataFrame, *, buckets: int, encoder: Path | None = None, progress: Progress = silent
) -> Catalogue:
    """Read the features of items, encoding their texts (about 1 ms each, cached)."""
    items = items.sort("item_key")
    columns = ("title", "brand", "category", "domain", "text")
    texts = [item_text(*row) for row in items.select(columns).iter_rows()]
    if _has_words(items):
        vectors = encode_texts(texts, progress, directory=encoder)
    else:
        # Ids for titles and nothing else: there is nothing to read, or to learn from words.
        texts, vectors = [""] * len(texts), np.zeros((len(texts), _TEXT_WIDTH), np.float32)
    names = ("category", "brand", "domain", "provider")
    hashed = hash_features(texts, *(items[n].to_list() for n in names), buckets=buckets)
    price = items["price"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    logged = np.log1p(np.maximum(price[np.isfinite(price)], 0))
    images = image_vectors(items)
    seen = images[images.any(axis=1)]
    image_mean = seen.mean(axis=0) if len(seen) else np.zeros(images.shape[1], np.float32)
    features = Items(
        text=torch.from_numpy(vectors),
        fields=torch.from_numpy(hashed.fields),
        words=torch.from_numpy(hashed.words),
        price=torch.from_numpy(price.copy()),
        image=torch.from_numpy(images),
    )
    mean, scale = (float(logged.mean()), float(logged.std())) if len(logged) else (0.0, 1.0)
    keys = items["item_key"].to_numpy().astype(np.int64)
    scale = scale if scale >= _LEAST_SPREAD else 1.0
    return Catalogue(keys, features, mean, scale, torch.from_numpy(image_mean))


def _has_words(items: pl.DataFrame) -> bool:
    named = (pl.col("title") != pl.col("item_id")) & (pl.col("title") != "")
    return bool(items.select((named | (pl.col("text") != "")).any()).item())


def image_vectors(items: pl.DataFrame) -> Scores:
    """Return unit image vectors [n, D], zero where an item has none; D is 0 without any.

    Raises DatasetError where they differ in length, or one is not finite.
    """
    if "image_vector" not in items.columns:
        return np.zeros((items.height, 0), np.float32)
    check_images(items)
    lists = items["image_vector"].to_list()
    found = np.zeros((items.height, max((len(v) for v in lists if v), default=0)), np.float32)
    for row, vector in enumerate(lists):
        if vector:
            found[row] = vector
    length = np.linalg.norm(found, axis=1, keepdims=True)
    unit: Scores = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
    return unit


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B users at some moment, and T items each that came soon after."""

    history: torch.Tensor  # rows int64 [B, L], 0 pads on the left
    weight: torch.Tensor  # float32 [B, L]
    targets: torch.Tensor  # rows int64 [B, T], 0 where there is none


class Moments:
    """Draws moments of users' histories with what followed."""

    def __init__(self, found: Interactions, *, length: int, targets: int, timed: bool) -> None:
        """Histories have the newest `length` events; the next `targets` are what to find."""
        self._found = found
        self._length, self._targets, self._timed = length, targets, timed
        self._weight = found.weight / np.float32(max(EVENT_WEIGHTS.values()))
        position = np.arange(len(found.row)) - found.starts[found.user]
        # A moment lies before an event that is not its user's first.
        self.moments: npt.NDArray[np.int64] = np.flatnonzero(position > 0)

    def draw(self, random: np.random.Generator, size: int) -> Batch:
        """Return `size` moments, every event equally likely to be the next one."""
        found = self._found
        at = self.moments[random.integers(0, len(self.moments), size)]
        begin, end = found.starts[found.user[at]], found.starts[found.user[at] + 1]
        index = at[:, None] - np.arange(self._length, 0, -1)
        present = index >= begin[:, None]
        index = np.where(present, index, 0)
        history = np.where(present, found.row[index], 0)
        weight = np.where(present, self._weight[index], np.float32(0))
        if self._timed:
            # As the gateway ages events, see Asking.
            asking = Asking()
            days = np.maximum(found.time[at][:, None] - found.time[index], 0) / _DAY
            faded = np.exp2(-days / asking.half_life_days)
            weight = weight * np.maximum(faded, asking.weight_floor)
        after = at[:, None] + np.arange(self._targets)
        there = after < end[:, None]
        targets = np.where(there, found.row[np.where(there, after, 0)], 0)
        return Batch(
            torch.from_numpy(history),
            torch.from_numpy(weight.astype(np.float32)),
            torch.from_numpy(np.where(_known(history, targets), 0, targets)),
        )


def _known(history: Keys, targets: Keys) -> npt.NDArray[np.bool_]:
    """Say which targets [B, T] are in their history [B, L], unless all of a row's are."""
    known: npt.NDArray[np.bool_] = (history[:, :, None] == targets[:, None, :]).any(axis=1)
    return known & ~known.all(axis=1, keepdims=True)
