"""Where prices stand in the catalogue of now, made when somebody asks and kept for a while.

Sorting a million prices takes a part of a second; a change of the catalogue moves few of
them, and a price that came since is placed among the others all the same.
"""

import time
from collections.abc import Callable

from artifacts.price_places import PricePlaces
from gateway.fusion.types import Columns

# Seconds that places are kept while the catalogue changes.
_KEPT = 30.0


class CurrentPlaces:
    """The places of the newest catalogue, at most half a minute old."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self._of: Columns | None = None
        self._made = 0.0
        self._places: PricePlaces | None = None

    def of(self, columns: Columns) -> PricePlaces:
        """Return where the prices of a catalogue stand."""
        now = self._clock()
        old = columns is not self._of and now - self._made >= _KEPT
        if self._places is None or old:
            self._places, self._of, self._made = PricePlaces(columns), columns, now
        return self._places
