"""The trained model as an ONNX graph, proven to compute the same.

Attention only answers for the newest place when serving, so the last layer
computes that one alone. The graph ends at the state, a search finds the items, and
item vectors lie in a file beside it (models/index.py).
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from artifacts.engine import Scores
from artifacts.engines.nearest import TABLE
from artifacts.engines.told import AGE, TOLD, TYPE, UNKNOWN_AGE
from artifacts.keys import Keys
from artifacts.session import open_session
from models.export import check_parity
from models.index import Finder, map_table, save_index
from models.onnx import write_onnx
from models.sequence.model import SequenceModel, Shape, settle
from models.sequence.told import NOTHING, TYPES, Told

# ONNX against torch: scores are about -10 to 15, float32 sums of other order differ by 1e-5.
EXPORT_TOLERANCE = 1e-3
_OUTPUTS = ("candidate_scores", "embedding")


class _Asked(nn.Module):
    """A network as a graph sees it: inputs in a row, those it is told last."""

    def __init__(self, network: nn.Module, told: Sequence[str], *, plain: int) -> None:
        """`told`: names of what comes after the first `plain` inputs."""
        super().__init__()
        self.network = network
        self._told = tuple(told)
        self._plain = plain
        # The export brings all parts back to the mode of the whole, which is made training.
        self.eval()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = dict(zip(self._told, inputs[self._plain :], strict=True))
        answer: tuple[Tensor, ...] = self.network(
            *inputs[: self._plain], Told(found.get(TYPE), found.get(AGE))
        )
        return answer


def told_names(shape: Shape) -> tuple[str, ...]:
    """Return which of TOLD a network reads."""
    reads = {TYPE: shape.types, AGE: shape.gaps}
    return tuple(name for name in TOLD if reads[name])


def probe_told(model: SequenceModel, batch: int, length: int) -> tuple[Tensor, ...]:
    """Return what a graph is told beside `probe`: random types, ages that fall, some unknown."""
    random = torch.Generator().manual_seed(batch * 1_000 + length)
    types = torch.randint(0, TYPES, (batch, length), generator=random)
    age = torch.rand(batch, length, generator=random).exp().mul(1e6).sort(1, descending=True)[0]
    age[:, 0] = UNKNOWN_AGE
    columns = {TYPE: types, AGE: age}
    return tuple(columns[name] for name in told_names(model.shape))


class ServedModel(nn.Module):
    """The graph of artifacts/engines/indexed.py over a table of (item vector, bias)."""

    table: Tensor

    def __init__(self, model: SequenceModel, table: Tensor, rows: Tensor) -> None:
        """table [m, d + 1]; its rows are the model's `rows` int64 [m]."""
        super().__init__()
        width = model.shape.width
        self.register_buffer("table", table)
        # The same network, reading its item vectors from the table.
        self.network = copy.copy(model)
        self.network._modules = {**model._modules, "items": _Rows(self, width)}
        again = torch.cat([model.repeat_item[:1], model.repeat_item[rows]]).detach()
        self.network._parameters = {
            **{n: p for n, p in model._parameters.items() if n != "bias"},
            "repeat_item": nn.Parameter(again),
        }

    def forward(
        self, history: Tensor, candidates: Tensor, told: Told = NOTHING
    ) -> tuple[Tensor, Tensor]:
        """history int64 [B, T], candidates [B, C] -> their scores [B, C], embedding [B, d + 1]."""
        state = self.network.states(history, told, newest_only=True)[:, 0]
        embedding = functional.pad(state, (0, 1), value=1.0)
        scores = (self.of(candidates) @ embedding[:, :, None])[:, :, 0]
        if self.network.shape.repeats:
            last = torch.full_like(history[:, :1], history.shape[1] - 1)
            seen = self.network.occurrences(history, last, told)[:, 0]  # [B, T]
            same = (candidates[:, :, None] == history[:, None, :]).to(seen.dtype)  # [B, C, T]
            scores = self.network.mixed(scores, (same @ seen[:, :, None])[:, :, 0])
        return scores, embedding

    def of(self, rows: Tensor) -> Tensor:
        """Return vectors and biases of rows of any shape; what row 0 has means nothing."""
        return self.table[(rows - 1).clamp(min=0)]


class _Rows(nn.Module):
    """Stands in for the embedding; holds no parameters, and the owner in a list, not as a part."""

    def __init__(self, owner: ServedModel, width: int) -> None:
        super().__init__()
        self._owner = [owner]
        self._width = width

    def forward(self, rows: Tensor) -> Tensor:
        return self._owner[0].of(rows)[..., : self._width]


def item_table(model: SequenceModel) -> Scores:
    """Return (item vector, bias) of every item, float32 [n, d + 1]."""
    with torch.no_grad():
        table = torch.cat([model.all_vectors()[1:], model.bias[1:, None]], 1)
    found: Scores = table.numpy()
    return found


def user_vectors(model: SequenceModel, history: Keys, told: Told = NOTHING) -> Scores:
    """Return the embedding of each history of rows [B, T], 0-padded on the left; [B, d + 1]."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(history), 32):
            some = slice(start, start + 32)
            rows = torch.from_numpy(history[some])
            known = Told(*(None if column is None else column[some] for column in told))
            state = model.states(rows, known, newest_only=True)[:, 0]
            parts.append(functional.pad(state, (0, 1), value=1.0).numpy())
    return np.concatenate(parts)


def export_model(model: SequenceModel, path: Path, finder: Finder) -> float:
    """Write the graph, the table beside it and what finds its items.

    Returns the largest difference from torch on histories of other shapes. Raises
    ExportMismatch above EXPORT_TOLERANCE.
    """
    model = settle(model.eval())
    told = told_names(model.shape)
    table, names = item_table(model), (("history", "candidates", *told), _OUTPUTS)
    shapes = ((2, min(5, model.shape.length), 4), *_probes(model))
    first, *probes = ((*probe(model, *s), *probe_told(model, *s[:2])) for s in shapes)
    save_index(path.parent, table, finder)
    rows = torch.from_numpy(finder.order) + 1
    few = ServedModel(model, torch.from_numpy(table[:8]), rows).eval()
    _export(_Asked(few, told, plain=2), path, (*_few(first[:2]), *first[2:]), names)
    map_table(path, "network.table", path.parent / TABLE)
    whole = ServedModel(model, torch.from_numpy(table[finder.order]), rows).eval()
    return _worst(_Asked(whole, told, plain=2), path, probes, names)


def _few(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Keep to the first rows, which are all that the table in the export has."""
    return tuple(rows.clamp(max=8) for rows in inputs)


def _probes(model: SequenceModel) -> tuple[tuple[int, int, int], ...]:
    return (1, 1, 1), (3, model.shape.length, 7)


def _export(
    model: nn.Module,
    path: Path,
    given: tuple[Tensor, ...],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    axes: Mapping[str, Mapping[int, str]] = {
        "history": {0: "B", 1: "L"},
        "candidates": {0: "B", 1: "C"},
        **{name: {0: "B", 1: "L"} for name in TOLD},
        "candidate_scores": {0: "B", 1: "C"},
        "embedding": {0: "B"},
    }
    named = {n: axes[n] for n in (*names[0], *names[1]) if n in axes}
    write_onnx(model, path, given, names, named)


def _worst(
    model: nn.Module,
    path: Path,
    probes: Sequence[tuple[Tensor, ...]],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> float:
    """Return the largest difference between torch and the graph over some inputs."""
    session = open_session(path)
    worst = 0.0
    for inputs in probes:
        feed = {name: tensor.numpy() for name, tensor in zip(names[0], inputs, strict=True)}
        with torch.no_grad():
            trained = model(*inputs)
        exported = session.run(list(names[1]), feed)
        for name, ours, theirs in zip(names[1], trained, exported, strict=True):
            found = check_parity(name, ours.numpy(), theirs, tolerance=EXPORT_TOLERANCE)
            worst = max(worst, found)
    return worst


def probe(model: SequenceModel, batch: int, length: int, candidates: int) -> tuple[Tensor, Tensor]:
    """Return inputs of the graph: random rows, histories of several lengths, padded left."""
    items = model.shape.items
    random = torch.Generator().manual_seed(batch * 1_000 + length)
    history = torch.randint(1, items + 1, (batch, length), generator=random)
    for row in range(1, batch):
        history[row, : row * length // (batch + 1)] = 0
    wanted = torch.randint(0, items + 1, (batch, candidates), generator=random)
    return history, wanted
