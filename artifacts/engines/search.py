"""What finds the items of an artifact by their vectors: lists, or a look at all in 8 bits."""

from pathlib import Path
from typing import Protocol

from artifacts.engine import Scores
from artifacts.engines.nearest import NearestSearch
from artifacts.engines.scan import SCAN, ScanSearch
from artifacts.keys import Keys


class Search(Protocol):
    """Finds the items whose products with a vector are greatest."""

    def search(self, vectors: Scores, k: int) -> tuple[Keys, Scores]:
        """Return the best rows int64 [B, k] of each vector [B, d] and their products.

        Best first; 0 and -inf behind the last, and for a vector of zeros.
        """
        ...


def open_search(directory: Path, probes: int) -> Search | None:
    """Open what an artifact holds, None where its graph finds the items itself.

    `probes` is how many lists are read, 0 where there are none. Raises ArtifactCorrupt.
    """
    if probes:
        return NearestSearch.open(directory, probes)
    return ScanSearch(directory) if (directory / SCAN).exists() else None
