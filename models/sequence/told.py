"""What the network may be told of each event beside its item: its type, and time.

Of the time it learns two things: how long after an event the next one came, or the
question where none did; and how long ago an event was, which weighs copying it
(milk is not bought again an hour later). Times are read in buckets, each twice as
long as the one before. All of it starts at nothing, so a network that is told more
starts as the one that is not.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

# Numbers of plait.v1.EventType; what is beyond is unknown, as 0 is.
TYPES = 8
# Where a bucket begins, in seconds: a minute, two, four, .. four years.
_BOUNDS = tuple(60.0 * 2**n for n in range(22))
# 0 unknown, 1 less than a minute, ..
BUCKETS = len(_BOUNDS) + 2


class Told(NamedTuple):
    """Columns beside a history [B, T]; None where they are not read."""

    type: Tensor | None = None  # int64 [B, T], 0 unknown
    # Seconds from each event to the question, float32 [B, T], negative unknown; the
    # question of a window in training is what followed it.
    age: Tensor | None = None


NOTHING = Told()


class Telling(nn.Module):
    """Vectors and copying weights of types and times."""

    def __init__(self, width: int, *, types: bool, gaps: bool) -> None:
        super().__init__()
        self.types = _silent(TYPES, width) if types else None
        self.gaps = _silent(BUCKETS, width) if gaps else None
        # What a type or an age adds to the log of an occurrence's weight.
        self.repeat_type = nn.Parameter(torch.zeros(TYPES)) if types else None
        self.repeat_elapsed = nn.Parameter(torch.zeros(BUCKETS)) if gaps else None

    def inputs(self, told: Told) -> Tensor | float:
        """Return what is added to each event's vector [B, T, d]; 0.0: nothing."""
        added: Tensor | float = 0.0
        if self.types is not None and told.type is not None:
            added = added + self.types(_known(told.type))
        if self.gaps is not None and told.age is not None:
            added = added + self.gaps(_bucket(told.age - asked(told.age), told.age))
        return added

    def occurrences(self, told: Told, at: Tensor) -> Tensor | float:
        """Return what is added to the log weight of each event as seen from places `at`.

        at int64 [B, P] -> [B, P, T]; 0.0: nothing.
        """
        added: Tensor | float = 0.0
        if self.repeat_type is not None and told.type is not None:
            added = added + self.repeat_type[_known(told.type)][:, None, :]
        if self.repeat_elapsed is not None and told.age is not None:
            age = told.age[:, None, :]
            elapsed = age - asked(told.age).gather(1, at)[:, :, None]
            added = added + self.repeat_elapsed[_bucket(elapsed, age.expand(elapsed.shape))]
        return added


def asked(age: Tensor) -> Tensor:
    """Return how long before the question each place asks: when its next event came [B, T]."""
    return torch.cat([age[:, 1:], torch.zeros_like(age[:, :1])], 1).clamp(min=0)


def _silent(count: int, width: int) -> nn.Embedding:
    made = nn.Embedding(count, width)
    nn.init.zeros_(made.weight)
    return made


def _known(types: Tensor) -> Tensor:
    return torch.where((types >= 0) & (types < TYPES), types, torch.zeros_like(types))


def _bucket(seconds: Tensor, age: Tensor) -> Tensor:
    """Return the bucket of each duration, int64; 0 where the event's age is unknown.

    Comparisons, not a logarithm: every library then finds the same bucket.
    """
    bounds = torch.tensor(_BOUNDS, dtype=seconds.dtype)
    found = 1 + (seconds[..., None] >= bounds).to(torch.int64).sum(-1)
    return torch.where(age >= 0, found, torch.zeros_like(found))
