"""Writing a catalogue's vectors in 8 bits, and measuring what a look through them misses.

The one idea: rounding hurts least where a user's and an item's coordinates are equally
large, so each coordinate is made larger at one side and smaller at the other until they
are (as Xiao et al. 2023, SmoothQuant, do for the layers of a network). What all items
have in common changes no order and is left out, which leaves finer steps for the rest.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

from artifacts.disk import temporary
from artifacts.engine import Scores
from artifacts.engines.nearest import Ints
from artifacts.engines.scan import (
    BALANCE,
    CODES_IN,
    ITEM_STEPS,
    PRODUCTS_OUT,
    SCAN,
    ZERO,
    ScanSearch,
)
from models.export import diverged
from models.index import RECALL_METRIC, Finder, K, build_index, exact_best, recall, save_index
from models.onnx_nodes import write_nodes


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """All items in 8 bits: a Finder."""

    items: npt.NDArray[np.int8]  # [m, d], within ITEM_STEPS
    balance: Scores  # what a user's coordinates are multiplied by, float32 [d]
    recall: float  # mean over the users it was measured with

    @property
    def order(self) -> Ints:
        """See Finder: as they come."""
        return np.arange(len(self.items))

    @property
    def metrics(self) -> dict[str, float]:
        """See Finder."""
        return {} if np.isnan(self.recall) else {RECALL_METRIC: self.recall}

    @property
    def settings(self) -> dict[str, float]:
        """See Finder."""
        return {}

    def write(self, directory: Path) -> None:
        """See Finder."""
        lengths = np.einsum("md,md->m", self.items, self.items, dtype=np.float32)
        reach = np.float64(lengths.max(initial=0.0))
        np.savez(directory / BALANCE, balance=self.balance, reach=reach)
        many, width = self.items.shape
        given = helper.make_tensor_value_info(CODES_IN, TensorProto.UINT8, ["B", width])
        made = helper.make_tensor_value_info(PRODUCTS_OUT, TensorProto.INT32, ["B", many])
        node = helper.make_node("MatMulInteger", [CODES_IN, "items", "zero"], [PRODUCTS_OUT])
        constants = {"items": self.items.T, "zero": np.array(ZERO, np.uint8)}
        write_nodes("scan", [node], ([given], [made]), constants, directory / SCAN)


def build_finder(
    source: str, vectors: Scores, users: Scores, *, lists_from: int, seed: int
) -> Finder:
    """Return what finds vectors [m, d] best: lists from so many on, a look at all before.

    Measured with the vectors of `users` [U, d]. Raises OptionError where a vector is no
    number.
    """
    if not (np.isfinite(vectors).all() and np.isfinite(users).all()):
        raise diverged(source)
    if len(vectors) >= lists_from:
        return build_index(vectors, users, seed=seed)
    return build_codes(vectors, users)


def build_codes(vectors: Scores, users: Scores) -> Codes:
    """Round vectors [m, d]; measure with the vectors of `users` [U, d]."""
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    theirs, ours = (np.abs(of).max(axis=0, initial=0.0) for of in (users, centred))
    # Without users, or where neither side has anything to say, a coordinate stays as it is.
    even = (theirs > 0) & (ours > 0)
    balance = np.sqrt(np.divide(ours, theirs, out=np.ones_like(ours), where=even))
    centred /= balance
    step = max(float(np.abs(centred).max(initial=0.0)), 1e-30) / ITEM_STEPS
    items = np.rint(centred / np.float32(step)).astype(np.int8)
    codes = Codes(items, balance.astype(np.float32), float("nan"))
    return Codes(items, codes.balance, measured(codes, vectors, users))


def measured(codes: Codes, vectors: Scores, users: Scores) -> float:
    """Return the part of the exact best that a look through the codes finds; NaN without users."""
    if not len(users) or not len(vectors):
        return float("nan")
    with temporary() as scratch:
        save_index(scratch, vectors, codes)
        wanted = exact_best(vectors, users, min(K, len(vectors)))
        return recall(ScanSearch(scratch), users, wanted)
