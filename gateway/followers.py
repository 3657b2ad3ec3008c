"""What hears of events that followed from a ranking: the exposure log, and adaptive weights."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.adaptive import AdaptiveWeights
from gateway.catalogue import Catalogue
from gateway.exposure import ExposureLog
from gateway.types import Event


@dataclass(frozen=True, slots=True)
class Followers:
    """Hands events on, once they are durable. Belongs to the event loop."""

    catalogue: Catalogue
    exposures: ExposureLog | None
    adaptive: AdaptiveWeights

    def follow(self, events: Sequence[Event]) -> None:
        """Note events that name a ranking, and learn from them."""
        if self.exposures is not None:
            for event in events:
                if item_id := self.catalogue.id_of(event.key):
                    self.exposures.follow(event, item_id)
        self.adaptive.follow(events)
