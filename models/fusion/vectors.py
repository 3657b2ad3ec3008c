"""Unit item vectors for the fusion, taken from the content source's artifact."""

from pathlib import Path

import numpy as np

from artifacts import layout, manifest
from artifacts.errors import ArtifactCorrupt, ArtifactMissing
from artifacts.formulas import Floats
from artifacts.keys import KeyIndex, Keys

# float32 [n, d], row i belongs to item_keys.npy[i].
FILE = "item_vectors.npy"


def item_vectors(repository: Path, keys: Keys) -> Floats:
    """Return a unit vector for each of `keys`, zero where there is none, float32 [n, d].

    Without a content artifact d is 0: everything then counts as unlike everything.
    """
    try:
        directory = layout.find(repository, "content")
    except ArtifactMissing:
        return np.zeros((len(keys), 0), np.float32)
    _, known = manifest.verify(directory)
    try:
        stored: Floats = np.load(directory / FILE, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError) as error:
        raise ArtifactCorrupt(
            f"{directory / FILE}: cannot be read ({error}); train the content source anew"
        ) from None
    if len(stored) != len(known):
        raise ArtifactCorrupt(
            f"{directory / FILE}: {len(stored)} vectors for {len(known)} items; "
            "train the content source anew"
        )
    length = np.linalg.norm(stored, axis=1, keepdims=True)
    unit = np.divide(stored, length, out=np.zeros_like(stored), where=length > 0)
    # Row 0 is what an unknown key maps to.
    padded = np.concatenate([np.zeros((1, unit.shape[1]), np.float32), unit])
    vectors: Floats = padded[KeyIndex(known).rows(keys)]
    return vectors
