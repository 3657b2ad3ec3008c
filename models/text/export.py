"""The dense half of a search as a graph: exported, with what finds its items, and compared.

The one idea: a graph holds each distinct vector once, and a file beside it says which
of them each item has.
"""

from pathlib import Path

import numpy as np
import torch

from artifacts.engine import Scores
from artifacts.engines.distinct import WHERE
from artifacts.engines.nearest import TABLE
from artifacts.keys import Keys
from artifacts.session import open_session
from models.export import check_parity
from models.index import Finder, map_table, save_index
from models.onnx import write_onnx
from models.text.model import DenseSearch

# A cosine in ONNX against the same in torch.
EXPORT_TOLERANCE = 1e-5
_INPUTS = ("vector", "history", "history_weight", "candidates")
_OUTPUTS = ("candidate_scores", "text_vector")
# Rows compared at once.
_BLOCK = 4_096


def export_search(vectors: Scores, path: Path, finder: Finder) -> float:
    """Write the dense half as ONNX and what finds its distinct vectors.

    vectors float32 [n, d], unit or zero rows, one for each item. Returns the largest
    difference from torch. Raises ExportMismatch.
    """
    distinct, where = distinct_rows(vectors)
    place = np.empty_like(finder.order)
    place[finder.order] = np.arange(len(finder.order))
    where = place[where]
    np.save(path.parent / WHERE, where.astype(np.int32))
    save_index(path.parent, distinct, finder)
    names = (_INPUTS, _OUTPUTS)
    few = DenseSearch(torch.from_numpy(distinct[:8]), torch.from_numpy(where)).eval()
    # The table in the export has a few vectors; asked is about items that have these.
    rows = torch.from_numpy(np.flatnonzero(where < len(few.vectors))[:2] + 1)
    probe = list(_probe(len(vectors), 2, 3, 4, vectors.shape[1]))
    probe[1], probe[3] = rows[probe[1] % len(rows)], rows[probe[3] % len(rows)]
    _export(few, path, tuple(probe), names)
    map_table(path, "vectors", path.parent / TABLE)
    # Mapped, and private to us: torch takes no read-only array.
    table = np.load(path.parent / TABLE, mmap_mode="c", allow_pickle=False)
    model = DenseSearch(torch.from_numpy(table), torch.from_numpy(where)).eval()
    return _worst(model, path, _probe(len(vectors), 3, 5, 2, vectors.shape[1]), names)


def distinct_rows(vectors: Scores) -> tuple[Scores, Keys]:
    """Return the distinct rows [u, d] and which of them each row is, int64 [n].

    Compared by 64-bit sums of their bits: a million rows of width 384 are not sorted
    number by number, nor copied for it.
    """
    odd = np.random.default_rng(0).integers(0, 2**63, vectors.shape[1], np.uint64) * 2 + 1
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    blocks = [bits[at : at + _BLOCK] for at in range(0, len(bits), _BLOCK)]
    sums = np.concatenate([block.astype(np.uint64) @ odd for block in blocks])
    _, first, where = np.unique(sums, return_index=True, return_inverse=True)
    return vectors[first], where.astype(np.int64)


def _export(
    model: torch.nn.Module,
    path: Path,
    given: tuple[torch.Tensor, ...],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    second = {"history": "L", "history_weight": "L", "candidates": "C", "candidate_scores": "C"}
    axes = {n: {0: "B"} for n in (*names[0], *names[1])}
    for name, axis in second.items():
        axes[name][1] = axis
    write_onnx(model, path, given, names, axes)


def _worst(
    model: torch.nn.Module,
    path: Path,
    given: tuple[torch.Tensor, ...],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> float:
    with torch.no_grad():
        trained = model(*given)
    feed = {name: tensor.numpy() for name, tensor in zip(names[0], given, strict=True)}
    exported = open_session(path).run(list(names[1]), feed)
    return max(
        check_parity(name, a.numpy(), b, tolerance=EXPORT_TOLERANCE)
        for name, a, b in zip(names[1], trained, exported, strict=True)
    )


def _probe(
    n: int, batch: int, length: int, candidates: int, width: int
) -> tuple[torch.Tensor, ...]:
    """Return inputs of the graph but k for a catalogue of n items; the last row has no query."""
    random = torch.Generator().manual_seed(batch)
    vector = torch.nn.functional.normalize(torch.randn(batch, width, generator=random), dim=1)
    vector[-1] = 0
    history = torch.randint(0, n + 1, (batch, length), generator=random)
    weight = torch.rand(batch, length, generator=random)
    rows = torch.randint(0, n + 1, (batch, candidates), generator=random)
    return vector, history, weight, rows
