"""What an item is, as a vector: also for items that nobody has seen yet.

An item's text goes through the frozen encoder, its category, brand, domain,
provider and words through hashing, its price as it is, and the vector of its image
where the model learned from images; item_tower.onnx turns them into a unit vector in
the space of the content model's user vectors. The one idea: hashing instead of a
vocabulary, so that a brand never seen in training is a vector near nothing, not an error.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from artifacts.engine import Scores
from artifacts.engines.encoder import TextEncoder
from artifacts.errors import ArtifactCorrupt
from artifacts.session import open_session
from plait.v1.manifest_pb2 import Manifest

TOWER = "item_tower.onnx"
Hashes = npt.NDArray[np.int64]

# The order of the columns of Features.fields.
FIELDS = ("category", "brand", "domain", "provider")
# Words of a text that count; what the thing is comes first.
MAX_WORDS = 24
_WORD = re.compile(r"[^\W_]+")
_INPUTS = {"text_vector", "fields", "words", "price"}
# Numbers of an image, where the tower reads any.
_IMAGE = "image_vector"
# Manifest.engine_parameters: how many they are.
IMAGE_WIDTH = "image_width"


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Hashed features of m items; 0 stands for "none"."""

    fields: Hashes  # int64 [m, 4], in the order of FIELDS
    words: Hashes  # int64 [m, MAX_WORDS], 0-padded, each word once


def hash_features(
    texts: Sequence[str],
    categories: Sequence[str],
    brands: Sequence[str],
    domains: Sequence[str],
    providers: Sequence[str],
    *,
    buckets: int,
) -> Features:
    """Hash columns of m values to 1 .. buckets; training and serving must agree on `buckets`."""
    columns = (categories, brands, domains, providers)
    fields = np.zeros((len(texts), len(FIELDS)), np.int64)
    known: dict[str, int] = {}
    for at, (name, column) in enumerate(zip(FIELDS, columns, strict=True)):
        for row, value in enumerate(column):
            if value:
                fields[row, at] = _bucket(f"{name}={value.strip().casefold()}", buckets, known)
    words = np.zeros((len(texts), MAX_WORDS), np.int64)
    for row, text in enumerate(texts):
        found = list(dict.fromkeys(_WORD.findall(text.casefold())))[:MAX_WORDS]
        words[row, : len(found)] = [_bucket(word, buckets, known) for word in found]
    return Features(fields, words)


class ItemTower:
    """Runs item_tower.onnx over the artifact's own text encoder."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        """Load the graphs; raises ArtifactCorrupt naming the file."""
        path = directory / TOWER
        self._session = open_session(path)
        inputs = {i.name for i in self._session.get_inputs()}
        self._buckets = int(manifest.engine_parameters.get("hash_buckets", 0))
        # Numbers of an image vector; 0: the model reads none.
        self.image_width = int(manifest.engine_parameters.get(IMAGE_WIDTH, 0))
        expected = {*_INPUTS, _IMAGE} if self.image_width else _INPUTS
        if inputs != expected or self._buckets < 1:
            raise ArtifactCorrupt(
                f"{path}: inputs {sorted(inputs)} and {self._buckets} hash_buckets in the "
                f"manifest, expected {sorted(expected)} and at least 1; train the version anew"
            )
        self._encoder = TextEncoder(directory)

    def encode(  # noqa: PLR0917 -- the columns of the content service, in its order
        self,
        texts: Sequence[str],
        categories: Sequence[str],
        brands: Sequence[str],
        domains: Sequence[str],
        prices: Scores,
        providers: Sequence[str] = (),
        images: Scores | None = None,
    ) -> Scores:
        """Return unit rows, float32 [m, d]; prices float32 [m], NaN unknown.

        Texts are worded by artifacts.item_text; images float32 [m, image_width] are of any
        length, a zero row is none. A row that says nothing at all (no text, field or
        image) is zero.
        """
        none = providers or ("",) * len(texts)
        found = hash_features(texts, categories, brands, domains, none, buckets=self._buckets)
        feed = {
            "text_vector": self._encoder.encode(texts),
            "fields": found.fields,
            "words": found.words,
            "price": np.asarray(prices, np.float32),
        }
        said = found.fields.any(axis=1, keepdims=True) | found.words.any(axis=1, keepdims=True)
        if self.image_width:
            if images is None:
                images = np.zeros((len(texts), self.image_width), np.float32)
            feed[_IMAGE] = images
            said |= images.any(axis=1, keepdims=True)
        vectors: Scores = self._session.run(None, feed)[0]
        return np.where(said, vectors, np.float32(0))


def _bucket(value: str, buckets: int, known: dict[str, int]) -> int:
    """CRC-32 is the same in every process and release; Python's own hash is not."""
    bucket = known.get(value)
    if bucket is None:
        bucket = known[value] = zlib.crc32(value.encode("utf-8", "replace")) % buckets + 1
    return bucket
