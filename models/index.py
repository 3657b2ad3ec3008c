"""Making the lists of a large catalogue, and measuring what they miss.

The lists are the clusters of k-means over the item vectors, all made equally long
(artifacts/engines/nearest.py says why). The one idea: how many lists a search
reads is not guessed. At export real users' vectors are searched exactly, and the
fewest lists that find `RECALL` of their best 100 are what the manifest records.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import TensorProto

from artifacts.engine import Scores
from artifacts.engines.nearest import LISTS, PROBES, TABLE, Ints, Lists, NearestSearch
from artifacts.engines.search import Search

# From this many items on, an artifact gets lists: there they take less time than a look at
# all in 8 bits, which misses nothing (benchmarks/indexes.py, width 64).
LISTS_FROM = 150_000
# Part of the exact best K that a search must find of the average user.
RECALL, K = 0.985, 100
RECALL_METRIC = f"index_recall@{K}"
# Vectors per centre that k-means looks at; more change nothing measurable.
_SAMPLE = 32
_ROUNDS = 8
_BLOCK = 4_096
# Share of the lists tried, in this order.
_SHARES = (0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.24, 0.32, 0.5)


class Finder(Protocol):
    """How the items of an artifact are found, and how well."""

    @property
    def order(self) -> Ints:
        """Which vector given is the table's row i, int64 [m]."""

    @property
    def metrics(self) -> dict[str, float]:
        """What the manifest's metrics say of it."""

    @property
    def settings(self) -> dict[str, float]:
        """What the engine must know of it: its part of engine_parameters."""

    def write(self, directory: Path) -> None:
        """Write what a search needs beside the table."""


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Lists that know how well they find: a Finder."""

    order: Ints
    lists: Lists
    probes: int
    recall: float  # mean over the users it was measured with

    @property
    def share(self) -> float:
        """Part of the lists that a search reads."""
        return self.probes / max(len(self.lists.centres), 1)

    @property
    def metrics(self) -> dict[str, float]:
        """See Finder."""
        return {RECALL_METRIC: self.recall, "index_lists": float(len(self.lists.centres))}

    @property
    def settings(self) -> dict[str, float]:
        """See Finder."""
        return {PROBES: float(self.probes)}

    def write(self, directory: Path) -> None:
        """See Finder."""
        lists = self.lists
        np.savez(
            directory / LISTS, starts=lists.starts, centres=lists.centres, reserve=lists.reserve
        )


def build_index(vectors: Scores, users: Scores, *, seed: int = 0) -> Index:
    """Sort vectors [m, d] into about 4 sqrt(m) lists; measure with the vectors of `users` [U, d].

    A million vectors of width 64 take half a minute on one core, and a copy of the
    vectors in memory.
    """
    order, lists = make_lists(vectors, seed=seed)
    return measured(vectors, Index(order, lists, len(lists.centres), 1.0), users)


def measured(vectors: Scores, index: Index, users: Scores) -> Index:
    """Return an index over vectors [m, d] that reads as few lists as find enough for `users`.

    Without users nothing can be measured: a tenth of the lists is read.
    """
    table, lists = vectors[index.order], index.lists
    count = len(lists.centres)
    if not len(users):
        return replace(index, probes=max(1, count // 10), recall=float("nan"))
    wanted = exact_best(table, users, min(K, len(table)))
    for probes in (*(max(1, round(share * count)) for share in _SHARES), count):
        found = recall(NearestSearch(table, lists, probes), users, wanted)
        if found >= RECALL:
            break
    return replace(index, probes=probes, recall=found)


def make_lists(vectors: Scores, *, seed: int = 0) -> tuple[Ints, Lists]:
    """Return the order of the vectors [m, d] by list, and the lists."""
    random = np.random.default_rng(seed)
    count = max(1, min(round(4 * len(vectors) ** 0.5), len(vectors) // 8))
    longest = float(np.sqrt(max(map(_longest, _blocks(vectors)), default=0.0)))
    drawn = random.choice(len(vectors), min(len(vectors), _SAMPLE * count), replace=False)
    centres = _means(_lifted(vectors[np.sort(drawn)], longest), count, random)
    halves = 0.5 * np.square(centres).sum(axis=1)
    parts = [_nearest(_lifted(block, longest), centres, halves) for block in _blocks(vectors)]
    member = np.concatenate(parts)
    order = np.argsort(member, kind="stable").astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(np.bincount(member, minlength=count))])
    flat = np.ascontiguousarray(centres[:, :-1], np.float32)
    # Half of it would make the promise a distance; of a quarter, most was found.
    reserve = (halves / max(2 * longest, 1e-9)).astype(np.float32)
    return order, Lists(starts.astype(np.int64), flat, reserve)


def exact_best(table: Scores, users: Scores, k: int) -> Ints:
    """Return the rows 1 .. m of each user's greatest k products, int64 [U, k], unordered."""
    found = []
    for start in range(0, len(users), 16):
        scores = users[start : start + 16] @ table.T
        found.append(np.argpartition(scores, -k, axis=1)[:, -k:] + 1)
    return np.concatenate(found).astype(np.int64)


def recall(search: Search, users: Scores, wanted: Ints) -> float:
    """Return the mean part of `wanted` [U, k] that a search for k finds."""
    rows, _ = search.search(users, wanted.shape[1])
    pairs = zip(rows, wanted, strict=True)
    return float(np.mean([np.isin(have, want).mean() for have, want in pairs]))


def save_index(directory: Path, vectors: Scores, found_by: Finder) -> None:
    """Write the table of vectors [m, d], in the order wanted, and what finds them."""
    kind = np.lib.format.dtype_to_descr(np.dtype(np.float32))
    header = {"descr": kind, "fortran_order": False, "shape": vectors.shape}
    # Not through a mapping: where the disk is full, that ends the process without a word.
    with (directory / TABLE).open("wb") as table:
        np.lib.format.write_array_header_1_0(table, header)
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[found_by.order[start : start + _BLOCK]]
            table.write(np.ascontiguousarray(block, np.float32).data)
    found_by.write(directory)


def map_table(path: Path, name: str, table: Path) -> None:
    """Make a graph's initializer `name` the rows of a .npy file beside it, whatever it held.

    ONNX Runtime maps such a file, as the search does: the vectors are in memory once.
    Graphs are exported with a table of a few rows, so no limit of protobuf is met.
    """
    model = onnx.load(str(path))
    stored: np.memmap[Any, Any] = np.load(table, mmap_mode="r", allow_pickle=False)
    (tensor,) = [i for i in model.graph.initializer if i.name == name]
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.dims[:] = stored.shape
    tensor.data_location = TensorProto.EXTERNAL
    entries = {"location": table.name, "offset": str(stored.offset), "length": str(stored.nbytes)}
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def _means(points: Scores, count: int, random: np.random.Generator) -> Scores:
    """Return the centres of k-means (Lloyd 1982), float32 [count, d]; an empty one is redrawn."""
    centres = points[random.choice(len(points), count, replace=False)]
    for _ in range(_ROUNDS):
        halves = 0.5 * np.square(centres).sum(axis=1)
        member = np.concatenate([_nearest(block, centres, halves) for block in _blocks(points)])
        sizes = np.bincount(member, minlength=count)
        there = sizes > 0
        starts = np.concatenate([[0], np.cumsum(sizes[there])[:-1]])
        sums = np.add.reduceat(points[np.argsort(member, kind="stable")], starts, axis=0)
        centres[there] = sums / sizes[there, None]
        centres[~there] = points[random.integers(0, len(points), int((~there).sum()))]
    return centres


def _nearest(points: Scores, centres: Scores, halves: Scores) -> Ints:
    nearest: Ints = np.argmax(points @ centres.T - halves, axis=1)
    return nearest


def _lifted(vectors: Scores, longest: float) -> Scores:
    """Add the coordinate that makes every vector `longest` long."""
    missing = longest**2 - np.square(vectors).sum(axis=1, keepdims=True)
    return np.concatenate([vectors, np.sqrt(np.maximum(missing, 0))], axis=1, dtype=np.float32)


def _longest(block: Scores) -> float:
    return float(np.square(block).sum(axis=1).max(initial=0.0))


def _blocks(vectors: Scores) -> list[Scores]:
    return [vectors[at : at + _BLOCK] for at in range(0, len(vectors), _BLOCK)]
