"""Text to a unit vector, in milliseconds, without torch.

A small transformer in int8 with its tokenizer. One idea: a text is always
encoded alone. Dynamic int8 takes its scale from the whole batch, so neighbours in
a batch would change each other's vectors; alone, a text has one vector, the same
in training, at the service, and for an item upserted a second ago. (Alone is also
as fast: texts this short fill a core, and nothing is padded.)
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from tokenizers import Tokenizer

from artifacts.engine import Scores
from artifacts.errors import ArtifactCorrupt
from artifacts.item_text import item_text
from artifacts.session import open_session

# item_text belongs to the encoder's contract: what training embeds is worded by it.
__all__ = ["ENCODER", "MAX_TOKENS", "TOKENIZER", "WIDTH", "TextEncoder", "VectorCache", "item_text"]

ENCODER = "encoder.onnx"
TOKENIZER = "tokenizer.json"
WIDTH = 384
# Longer texts are cut: product texts say what the thing is first, and time grows
# with length (about 0.12 ms a token).
MAX_TOKENS = 64
# A word is rarely longer than six characters, so this bounds the tokenizer's work too.
_MAX_CHARACTERS = 12 * MAX_TOKENS
# What a tokenizer says of a word that no pieces make up: one of English, one of many languages.
_UNKNOWN, _UNKNOWN_TO_ALL = "[UNK]", "<unk>"


class TextEncoder:
    """Runs encoder.onnx; safe to call from several threads."""

    def __init__(self, directory: Path, *, cache_size: int = 4_096) -> None:
        """Load encoder.onnx and tokenizer.json; keep the last `cache_size` vectors.

        A vector takes 1.5 kB. Raises ArtifactCorrupt naming the file.
        """
        self._session = open_session(directory / ENCODER)
        try:
            tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtifactCorrupt(
                f"{directory / TOKENIZER}: not a tokenizer ({error}); train the version anew"
            ) from None
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer = tokenizer
        # What stands around every text: start and end, and how a search begins.
        self._marks = tokenizer.num_special_tokens_to_add(is_pair=False)
        self._of_english = tokenizer.token_to_id(_UNKNOWN) is not None
        self._cache = VectorCache(cache_size)

    def encode(self, texts: Sequence[str]) -> Scores:
        """Return unit rows, float32 [B, 384]; a zero row where a text holds no word."""
        vectors = np.zeros((len(texts), WIDTH), np.float32)
        for row, text in enumerate(texts):
            vector = self._cache.get(text)
            if vector is None:
                vector = self._encode(text)
                self._cache.put(text, vector)
            vectors[row] = vector
        return vectors

    def token_ids(self, text: str) -> list[int]:
        """Return what the encoder reads of a text: at most `MAX_TOKENS` ids."""
        return list(self._tokenizer.encode(_clean(text)).ids)

    def reads(self, text: str) -> float:
        """Return which share of a text's pieces it has learned, 1 where there is no letter.

        Not unknown words; nor, of English, letters beyond ASCII by themselves: Chinese, Russian
        or Greek falls apart into them, and they mean nothing to an encoder of English.
        """
        if text.isascii():
            return 1.0
        found = self._tokenizer.encode(_clean(text))
        known = unknown = 0
        for token, (start, end) in zip(found.tokens, found.offsets, strict=True):
            if any(c.isalpha() for c in text[start:end]):
                piece = token.removeprefix("##")
                alone = self._of_english and len(piece) == 1 and not piece.isascii()
                unread = alone or token in {_UNKNOWN, _UNKNOWN_TO_ALL}
                unknown += unread
                known += not unread
        return known / (known + unknown) if known or unknown else 1.0

    def _encode(self, text: str) -> Scores:
        ids = np.array([self.token_ids(text)], np.int64)
        if ids.shape[1] <= self._marks:
            return np.zeros(WIDTH, np.float32)
        found: Scores = self._session.run(None, {"ids": ids, "mask": np.ones_like(ids)})[0][0]
        return found


def _clean(text: str) -> str:
    # A lone surrogate is no character and would make the tokenizer raise.
    return text[:_MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


class VectorCache:
    """Text to vector, least recently used out first; safe to call from several threads."""

    def __init__(self, size: int) -> None:
        """`size`: vectors kept."""
        self._size = size
        self._lock = Lock()
        self._vectors: OrderedDict[str, Scores] = OrderedDict()

    def get(self, text: str) -> Scores | None:
        """Return the vector of a text, None where it is not kept."""
        with self._lock:
            vector = self._vectors.get(text)
            if vector is not None:
                self._vectors.move_to_end(text)
            return vector

    def put(self, text: str, vector: Scores) -> None:
        """Keep a vector."""
        with self._lock:
            self._vectors[text] = vector
            self._vectors.move_to_end(text)
            while len(self._vectors) > self._size:
                self._vectors.popitem(last=False)
