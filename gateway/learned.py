"""What a fusion artifact knows of the items of a catalogue, brought into its rows.

Rows stay what they are when the artifact changes, so histories, trends and kept
rankings stay valid; only popularity and vectors are made anew. For a large
catalogue that takes a second, so it is done in a thread, from a snapshot.
"""

from dataclasses import dataclass

import numpy as np

from artifacts.fusion import FusionArtifact
from gateway.fusion.types import Floats, Ints
from gateway.index import RowIndex


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Learned:
    """A fusion artifact and its columns for the first n rows; c >= n is room to grow."""

    # Without the items of these rows: what is known of them is in the columns.
    fusion: FusionArtifact
    trained: RowIndex  # of all items the artifact was made with
    late: RowIndex  # of those that `fusion` has left
    popularity: Floats  # [c]
    vectors: Floats  # [c, d]
    rows: int  # n


def learn(fusion: FusionArtifact, keys: Ints, capacity: int) -> Learned:
    """Bring an artifact into the rows of `keys` [n], with room for `capacity` rows; blocks."""
    trained = RowIndex(fusion.item_keys)
    places = trained.rows(keys)
    known = np.flatnonzero(places >= 0)
    popularity = np.zeros(capacity, np.float32)
    popularity[known] = fusion.popularity[places[known]]
    vectors = np.zeros((capacity, fusion.vectors.shape[1]), np.float32)
    vectors[known] = fusion.vectors[places[known]]
    absent = np.ones(len(fusion.item_keys), np.bool_)
    absent[places[known]] = False
    rest = fusion.only(absent)
    return Learned(rest, trained, RowIndex(rest.item_keys), popularity, vectors, len(keys))
