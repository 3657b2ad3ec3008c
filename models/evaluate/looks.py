"""Beyond accuracy: how varied, how new and how fair the rankings are.

The one idea: everything here is judged by what the catalogue and the known
events say about items, never by a model's vectors, so that no model is the
judge of its own variety. Sums over a list are one sparse product for all users.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import sparse

from models.evaluate.metrics import Bools, Doubles, Keys, Ragged

Indices = npt.NDArray[np.int64]

# Steck 2018: how much of the history's distribution is mixed into the slate's, so that
# the divergence stays finite.
_MIXED = 0.01
# Users whose distributions over groups are in memory at once.
_BLOCK = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What is known of n items, by ascending key."""

    keys: Keys  # [n]
    # Unit rows over features (domain, category, brand, attributes) [n, F]; None: items
    # differ in nothing but their names.
    features: sparse.csr_matrix | None
    provider: Indices  # [n], -1 unknown
    group: Indices  # domain where several may be shown, else category [n], -1 unknown
    surprise: Doubles  # -log2 of the item's share of the known events [n]
    competing: int  # how many of the items may be shown

    def rows(self, keys: Keys) -> Indices:
        """Return the row of each key; every key must be known."""
        return np.searchsorted(self.keys, keys).astype(np.int64)


def make_looks(items: pl.DataFrame, known: pl.DataFrame, allowed: Keys | None = None) -> Looks:
    """Read what matters from the items, and popularity from the `known` events.

    The share of an item nobody bought is that of a single event (add-one smoothing).
    `allowed` are the items that may be shown, None all: what these have in common, as all
    of one domain have that, tells none of them from another.
    """
    ordered = items.sort("item_key")
    keys = ordered["item_key"].to_numpy().astype(np.int64)
    bought = known.filter(pl.col("type") != "dislike")["item_key"].to_numpy()
    counts = np.bincount(np.searchsorted(keys, bought), minlength=len(keys)) + 1.0
    shown = np.ones(len(keys), np.bool_) if allowed is None else np.isin(keys, allowed)
    domain = _codes(ordered["domain"])
    group = domain if len(set(domain[shown].tolist()) - {-1}) > 1 else _codes(ordered["category"])
    surprise: Doubles = -np.log2(counts / counts.sum())
    provider = _codes(pl.Series(np.where(shown, ordered["provider"].to_numpy(), "")))
    return Looks(keys, _features(ordered, shown), provider, group, surprise, int(shown.sum()))


def beyond(
    ranked: Keys, looks: Looks, history: Ragged, ks: Sequence[int]
) -> tuple[dict[str, Doubles], dict[str, float]]:
    """Return what is measured per user [U], and what only all rankings together have.

    Per user: diversity@k, the mean distance (1 - cosine of features) of two items of
    the list; novelty@k, the mean surprise in bits (Vargas and Castells 2011);
    miscalibration@k, the divergence of the list's groups from the history's in nats
    (Steck 2018). Together: coverage@k, and gini@k of the exposure of providers,
    places discounted as in NDCG: 0 all alike, 1 all for one. What the catalogue
    cannot tell is left out. ranked int64 [U, K], 0-padded.
    """
    each: dict[str, Doubles] = {}
    total: dict[str, float] = {}
    likes = _distribution(history.users, history.keys, looks, len(ranked))
    for k in ks:
        top = ranked[:, :k]
        shown = top != 0
        user = np.repeat(np.arange(len(top)), shown.sum(axis=1))
        rows = looks.rows(top[shown])
        held = np.maximum(shown.sum(axis=1), 1)
        each[f"novelty@{k}"] = np.bincount(user, looks.surprise[rows], len(top)) / held
        if looks.features is not None:
            each[f"diversity@{k}"] = _diversity(user, rows, len(top), looks.features)
        if likes is not None:
            slate = _distribution(user, top[shown], looks, len(top))
            if slate is not None:
                each[f"miscalibration@{k}"] = _divergence(likes, slate)
        total[f"coverage@{k}"] = len(np.unique(rows)) / max(looks.competing, 1)
        if looks.provider.max(initial=-1) > 0:
            total[f"gini@{k}"] = _exposure_gini(top, looks)
    return each, total


def gini(amounts: Doubles) -> float:
    """Return the Gini coefficient of amounts from 0 [n]: 0 equal, towards 1 all in one place."""
    total = float(amounts.sum())
    if not total > 0:
        return 0.0
    n = len(amounts)
    place = 2 * np.arange(1, n + 1) - n - 1
    return float(place @ np.sort(amounts)) / (n * total)


def _diversity(user: Indices, rows: Indices, users: int, features: sparse.csr_matrix) -> Doubles:
    """Mean distance of two items of a list [U]; 0 where there are no two.

    Rows are unit vectors x, so sum_ij x_i x_j = |sum_i x_i|^2: no pair is ever formed.
    """
    picked = sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (user, rows)), shape=(users, features.shape[0])
    )
    summed = picked @ features
    together = np.asarray(summed.multiply(summed).sum(axis=1), np.float64).ravel()
    own = np.asarray(features.multiply(features).sum(axis=1), np.float64).ravel()
    alone = np.bincount(user, own[rows], users)
    count = np.bincount(user, minlength=users)
    pairs = np.maximum(count * (count - 1), 1)
    found: Doubles = np.where(count > 1, np.clip(1 - (together - alone) / pairs, 0, 1), 0.0)
    return found


def _distribution(users: Indices, keys: Keys, looks: Looks, size: int) -> sparse.csr_matrix | None:
    """Return each user's share of every group [U, G]; None where there are no two groups."""
    groups = int(looks.group.max(initial=-1)) + 1
    if groups < 2:
        return None
    group = looks.group[looks.rows(keys)]
    named = group >= 0
    counts = sparse.csr_matrix(
        (np.ones(named.sum()), (users[named], group[named])), shape=(size, groups)
    )
    sums = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    return sparse.csr_matrix(sparse.diags(1 / sums) @ counts)


def _divergence(likes: sparse.csr_matrix, slate: sparse.csr_matrix) -> Doubles:
    """KL(p || (1 - a) q + a p) of each user [U]; 0 where one has no group at all."""
    parts = []
    for start in range(0, likes.shape[0], _BLOCK):
        p, q = (m[start : start + _BLOCK].toarray() for m in (likes, slate))
        mixed = (1 - _MIXED) * q + _MIXED * p
        ratio = np.divide(p, mixed, out=np.ones_like(p), where=p > 0)
        parts.append((p * np.log(ratio)).sum(axis=1) * (q.any(axis=1)))
    found: Doubles = np.concatenate(parts) if parts else np.zeros(0)
    return found


def _exposure_gini(top: Keys, looks: Looks) -> float:
    discount = np.broadcast_to(1 / np.log2(np.arange(2, top.shape[1] + 2)), top.shape)
    shown = top != 0
    provider = looks.provider[looks.rows(top[shown])]
    named = provider >= 0
    providers = int(looks.provider.max()) + 1
    exposure = np.bincount(provider[named], discount[shown][named], providers)
    return gini(exposure.astype(np.float64))


def _codes(names: pl.Series) -> Indices:
    """Number names in ascending order; "" is -1."""
    known = names.unique().sort()
    known = known.filter(known != "")
    codes = np.searchsorted(known.to_numpy(), names.to_numpy())
    return np.where((names != "").to_numpy(), codes, -1).astype(np.int64)


def _features(items: pl.DataFrame, shown: Bools) -> sparse.csr_matrix | None:
    """One column for each value of domain, category, brand and each attribute.

    Rows of items that are not `shown` stay empty.
    """
    rows: list[int] = []
    column: list[int] = []
    # By name, not as an array of text: that is as wide throughout as its longest.
    numbers: dict[str, int] = {}
    columns = ("domain", "category", "brand", "attributes")
    competing = items.select(columns).filter(pl.Series(shown))
    for row, (domain, category, brand, attributes) in zip(
        np.flatnonzero(shown).tolist(), competing.iter_rows(), strict=True
    ):
        said = {"domain": domain, "category": category, "brand": brand}
        said |= {f"attribute {n}": v for n, v in json.loads(attributes or "{}").items()}
        own = [f"{name}: {value}" for name, value in said.items() if value]
        rows += [row] * len(own)
        column += [numbers.setdefault(name, len(numbers)) for name in own]
    # What all items share tells none from another.
    telling = (np.bincount(column) < competing.height)[column] if column else np.zeros(0, np.bool_)
    if not telling.any():
        return None
    at = (np.array(rows)[telling], np.array(column)[telling])
    shape = (items.height, len(numbers))
    table = sparse.csr_matrix((np.ones(len(at[0]), np.float32), at), shape=shape)
    length = np.sqrt(np.asarray(table.sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(length, 1)) @ table)
