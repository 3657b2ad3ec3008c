"""From events to training batches: windows of histories, places in them, what came after.

The one idea: what happened at one moment (a basket) has no order inside. So a
window shows a basket's items shuffled anew each time, and only the end of a
basket is a place to predict from: what comes within the next `horizon` events.
Where every event has its own moment, that is next-item prediction.

Windows of like length share a batch, cut to the longest of them, and short ones are
the more: most shoppers of most shops have done little, and padding them to the few
with long histories would be most of the work.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from artifacts.engines.told import UNKNOWN_AGE
from models.data.interactions import Interactions
from models.sequence.told import Told

# From this part of the events on, shoppers come back to what they had.
_AGAIN = 0.05
# Batches that are sorted by length together: more pad less, fewer mix better.
_GROUP = 24

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Windows:
    """How batches are cut from histories."""

    # Windows in a batch where they offer `places` places; more where they are shorter.
    batch: int
    length: int
    places: int
    targets: int
    horizon: int
    # Targets are drawn by their distance to minus this power; 0: all alike.
    nearness: float = 0.0


@dataclass(frozen=True, eq=False)
class Batch:
    """B windows with P places each and M targets per place."""

    history: Tensor  # rows int64 [B, T], 0 pads on the left
    places: Tensor  # int64 [B, P], indices into T
    targets: Tensor  # rows int64 [B, P, M], 0 where there are fewer
    # Types, and ages before what followed the window; unknown where there are no times.
    told: Told


def epoch(data: Interactions, windows: Windows, random: np.random.Generator) -> Iterator[Batch]:
    """Yield every user's history once in windows, in random order; long ones cut at random."""
    slots = _slots(data, windows)
    random.shuffle(slots)
    moment = moments(data)
    batches = _batches(slots, np.minimum(_offered(data)[slots], windows.length), windows)
    for at in random.permutation(len(batches)):
        yield _batch(data, moment, batches[at], windows, random)


def _offered(data: Interactions) -> Rows:
    """How many events of each user something can follow: all but the last, int64 [U]."""
    return np.diff(data.starts) - 1


def _slots(data: Interactions, windows: Windows) -> Rows:
    """Return the user of each window of an epoch."""
    offered = _offered(data)
    return np.repeat(np.arange(len(offered)), -(-offered // windows.length))


def _batches(slots: Rows, lengths: Rows, windows: Windows) -> list[Rows]:
    """Cut windows into batches of like length; those drawn near each other share one.

    No batch predicts from more places than `batch` full windows would.
    """
    places = np.minimum(lengths, windows.places)
    most = windows.batch * min(windows.places, windows.length)
    group = np.cumsum(places) // (most * _GROUP)
    order = np.lexsort((lengths, group))
    starts, begun = [0], 0
    for at, (widest, part) in enumerate(
        zip(places[order].tolist(), group[order].tolist(), strict=True)
    ):
        # Lengths ascend within a group, so this window would be the widest of its batch.
        if at and (part != begun or (at + 1 - starts[-1]) * widest > most):
            starts.append(at)
        begun = part
    return np.split(slots[order], starts[1:]) if len(slots) else []


def moments(data: Interactions) -> Rows:
    """Number the moments: events of one user at one time share a number, int64 [E]."""
    fresh = (np.diff(data.time) != 0) | (np.diff(data.user) != 0)
    return np.concatenate([[0], np.cumsum(fresh)]).astype(np.int64)


def _batch(
    data: Interactions,
    moment: Rows,
    users: Rows,
    windows: Windows,
    random: np.random.Generator,
) -> Batch:
    start, stop = data.starts[users], data.starts[users + 1]
    # A window ends anywhere that fills it, before the last event: nothing follows that.
    last = stop - 1
    length = int(min((last - start).max(), windows.length))
    first_end = np.minimum(start + windows.length, last)
    end = first_end + (random.random(len(users)) * (last - first_end + 1)).astype(np.int64)
    index = end[:, None] - np.arange(length, 0, -1)[None, :]  # [B, T] event numbers
    real = index >= start[:, None]
    safe = np.where(real, index, start[:, None])
    here = np.where(real, moment[safe], -1)
    # Shuffle within moments: sort by (moment, chance); padding stays on the left.
    order = np.lexsort((random.random(index.shape), here), axis=1)
    history = np.where(real, np.take_along_axis(data.row[safe], order, axis=1), 0)
    following = np.minimum(safe + 1, stop[:, None] - 1)
    ends = real & (safe + 1 < stop[:, None]) & (moment[following] != here)
    # Draw places: real ones first, in random order.
    lot = np.where(ends, random.random(index.shape), 2.0)
    count = min(windows.places, length)
    places = np.argpartition(lot, count - 1, axis=1)[:, :count]
    valid = np.take_along_axis(ends, places, axis=1)
    ahead = _ahead(windows, (*places.shape, windows.horizon), random)
    target = np.take_along_axis(safe, places, axis=1)[:, :, None] + ahead
    inside = valid[:, :, None] & (target < stop[:, None, None])
    rows = np.where(inside, data.row[np.minimum(target, len(data.row) - 1)], 0)
    return Batch(
        torch.from_numpy(history),
        torch.from_numpy(places),
        torch.from_numpy(rows),
        _told(data, (safe, real, order), end),
    )


def _told(data: Interactions, window: tuple[Rows, Bools, Rows], end: Rows) -> Told:
    """Return what else is known of the events of windows that `end` (int64 [B]) follows.

    `window`: event numbers, which of them are real, and their order [B, T].
    """
    events, real, order = window
    types = np.where(real, np.take_along_axis(data.type[events], order, axis=1), 0)
    age = np.full(events.shape, UNKNOWN_AGE, np.float32)
    if data.timed:
        # Events of one moment share a time: their order changes no age.
        seconds = (data.time[end][:, None] - data.time[events]).astype(np.float32)
        age = np.where(real, seconds, np.float32(0))
    return Told(torch.from_numpy(types.astype(np.int64)), torch.from_numpy(age))


def _ahead(windows: Windows, shape: tuple[int, int, int], random: np.random.Generator) -> Rows:
    """Draw which of the next 1 .. horizon events are targets, int64 [B, P, M]."""
    if windows.targets >= windows.horizon:
        return np.broadcast_to(np.arange(1, windows.horizon + 1), shape)
    if windows.nearness:
        most = np.full((*shape[:2], windows.targets), windows.horizon)
        return distances(most, windows.nearness, random)
    drawn = np.argpartition(random.random(shape), windows.targets - 1, axis=2)
    return drawn[:, :, : windows.targets] + 1


def distances(most: Rows, power: float, random: np.random.Generator) -> Rows:
    """Draw numbers from 1 to each of `most`, with chances of the number to minus `power`."""
    chance = np.cumsum(np.arange(1.0, most.max(initial=1) + 1) ** -power)
    lot = random.random(most.shape) * chance[most - 1]
    return np.minimum(np.searchsorted(chance, lot, side="right") + 1, most)


def come_back(data: Interactions) -> bool:
    """Say whether shoppers come back to items they had: at least one later event in twenty."""
    number = data.user.astype(np.int64) * (len(data.item_keys) + 1) + data.row
    _, pair = np.unique(number, return_inverse=True)
    first = np.full(len(data.row), np.inf)
    np.minimum.at(first, pair, data.time)
    again = int(np.count_nonzero(data.time > first[pair]))
    later = np.count_nonzero(data.time > data.time[data.starts[data.user]])
    return again >= _AGAIN * max(int(later), 1)


def spectral_vectors(data: Interactions, width: int, seed: int) -> Vectors:
    """Return a starting point for the item vectors, float32 [n + 1, width], row 0 zeros.

    Items bought by the same users start near each other: the leading right singular
    vectors of the normalised user-item matrix (randomised subspace iteration, Halko,
    Martinsson & Tropp 2011), scaled to a standard deviation of 0.1.
    """
    seen = data.matrix()
    users = np.asarray(seen.sum(axis=1)).ravel()
    items = np.asarray(seen.sum(axis=0)).ravel()
    scale = [sparse.diags_array(1 / np.sqrt(np.maximum(c, 1.0))) for c in (users, items)]
    normed = (scale[0] @ seen @ scale[1]).tocsr().astype(np.float32)
    turned = normed.T.tocsr()
    random = np.random.default_rng(seed)
    rank = min(width, *normed.shape)
    basis = random.standard_normal((normed.shape[1], min(rank + 16, *normed.shape)), np.float32)
    for _ in range(3):
        basis = np.linalg.qr(turned @ (normed @ basis))[0]
    _, size, right = np.linalg.svd(normed @ basis, full_matrices=False)
    vectors = np.zeros((normed.shape[1] + 1, width), np.float32)
    vectors[1:, :rank] = ((basis @ right.T) * np.sqrt(size))[:, :rank]
    spread = float(vectors[1:].std())
    return vectors * np.float32(0.1 / spread) if spread > 0 else vectors
