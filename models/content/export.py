"""The content model as files: model.onnx, item_tower.onnx, item_vectors.npy, the text encoder."""

import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

from artifacts.engines.encoder import ENCODER, TOKENIZER
from artifacts.engines.item_tower import TOWER
from artifacts.engines.nearest import TABLE
from artifacts.manifest import MODEL
from artifacts.session import open_session
from models.content.model import Content, Items, Served, Tower
from models.export import check_parity
from models.index import Finder, map_table, save_index
from models.onnx import write_onnx
from models.text.encode import prepare_encoder

# Cosine-like scores and coordinates of unit vectors: torch against ONNX.
EXPORT_TOLERANCE = 1e-4
# float32 [n, d]: row i belongs to item_keys.npy[i]. The fusion compares items by them.
VECTORS = TABLE
# Names of a graph, inputs first, and which of their dimensions are of any size.
Axes = dict[str, tuple[str, ...]]
_SERVED: Axes = {
    "history": ("B", "L"),
    "history_weight": ("B", "L"),
    "candidates": ("B", "C"),
    "candidate_scores": ("B", "C"),
    "embedding": ("B",),
}
_TOWER: Axes = dict.fromkeys(("text_vector", "fields", "words", "price", "item_vector"), ("M",))
_SEEN: Axes = dict.fromkeys(
    ("text_vector", "fields", "words", "price", "image_vector", "item_vector"), ("M",)
)


class NewItem(nn.Module):
    """The tower as new items reach it: with images where the model learned from any."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower

    def forward(
        self,
        text: Tensor,
        fields: Tensor,
        words: Tensor,
        price: Tensor,
        image: Tensor | None = None,
    ) -> Tensor:
        """See models.content.model.Items; -> unit rows [m, d]."""
        vectors: Tensor = self.tower(text, fields, words, price, image)
        return vectors


def save(
    model: Content,
    vectors: Tensor,
    features: Items,
    directory: Path,
    *,
    finder: Finder,
    encoder: Path | None = None,
) -> float:
    """Write everything but the manifest; return the largest difference from torch.

    vectors [n, d] of all items, features of the same; the artifact's rows are in the
    order of what finds them. Raises ExportMismatch.
    """
    home = encoder or prepare_encoder()
    for name in (ENCODER, TOKENIZER):
        shutil.copyfile(home / name, directory / name)
    worst = _save_served(model, vectors, directory, finder)
    tower = NewItem(model.tower).eval()
    axes = _SEEN if model.shape.image else _TOWER
    given = len(axes) - 1
    few = (_described(features, 2), given)
    worst = max(worst, _export(tower, directory / TOWER, axes, few))
    probe = (_described(features, 64), given)
    return max(worst, _compare(tower, directory / TOWER, axes, probe))


def _save_served(model: Content, vectors: Tensor, directory: Path, finder: Finder) -> float:
    save_index(directory, vectors.numpy(), finder)
    few = Served(model, vectors[:8]).eval()
    worst = _export(few, directory / MODEL, _SERVED, (_asked(len(few.vectors), 2), 3))
    map_table(directory / MODEL, "vectors", directory / VECTORS)
    served = Served(model, vectors[torch.from_numpy(finder.order)]).eval()
    return max(worst, _compare(served, directory / MODEL, _SERVED, (_asked(len(vectors), 5), 3)))


def _asked(n: int, batch: int) -> tuple[Tensor, ...]:
    """Random inputs of the served graph, with gaps, for n items."""
    random = torch.Generator().manual_seed(batch)
    history = torch.randint(0, n + 1, (batch, 3 * batch), generator=random)
    weight = torch.rand(history.shape, generator=random)
    candidates = torch.randint(0, n + 1, (batch, 2 * batch), generator=random)
    return history, weight, candidates


def _described(features: Items, most: int) -> tuple[Tensor, ...]:
    taken = features.take(torch.arange(min(most, len(features.text))))
    plain = (taken.text, taken.fields, taken.words, taken.price)
    return (*plain, taken.image) if taken.image.shape[1] else plain


def _export(
    model: nn.Module,
    path: Path,
    axes: Axes,
    probe: tuple[tuple[Tensor, ...], int],
) -> float:
    """Write a graph whose first `probe[1]` names are inputs; compare it on the probe."""
    given, inputs = probe
    names = list(axes)
    sizes = {name: dict(enumerate(found)) for name, found in axes.items() if found}
    write_onnx(model, path, given, (names[:inputs], names[inputs:]), sizes)
    return _compare(model, path, axes, probe)


def _compare(
    model: nn.Module,
    path: Path,
    axes: Axes,
    probe: tuple[tuple[Tensor, ...], int],
) -> float:
    given, inputs = probe
    names = list(axes)
    with torch.no_grad():
        answer = model(*given)
    trained = answer if isinstance(answer, tuple) else (answer,)
    feed = {name: tensor.numpy() for name, tensor in zip(names[:inputs], given, strict=True)}
    exported = open_session(path).run(names[inputs:], feed)
    return max(
        check_parity(f"content {name}", a.numpy(), b, tolerance=EXPORT_TOLERANCE)
        for name, a, b in zip(names[inputs:], trained, exported, strict=True)
    )
