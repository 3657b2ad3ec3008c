"""The account of a load: what became of every single request, and when.

A fault is judged by this and by nothing else: it is what shoppers saw.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["ok", "partial", "fallback", "refused", "late", "failed"]
KINDS: tuple[Kind, ...] = ("ok", "partial", "fallback", "refused", "late", "failed")


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Times are those of time.monotonic()."""

    due: float  # when it should have been sent; waiting for the sender counts as latency
    seconds: float
    kind: Kind
    # Source -> OK, LATE, ERROR, SHED, OPEN or SKIPPED; empty where nothing was answered.
    sources: dict[str, str]
    # The answer's own word on whether something is missing agrees with its list of sources.
    honest: bool = True
    detail: str = ""
    # Source -> the model version it said it was.
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def end(self) -> float:
        """When the answer was there."""
        return self.due + self.seconds

    @property
    def missing(self) -> bool:
        """Whether a source that was asked did not take part."""
        return any(outcome not in ("OK", "SKIPPED") for outcome in self.sources.values())


class Account:
    """Calls in the order of their ends."""

    def __init__(self, calls: Sequence[Call] = ()) -> None:
        self.calls = list(calls)
        # Times a caller was told to come back later, and did; of the whole load.
        self.sent_again = 0

    def between(self, start: float, end: float = float("inf")) -> "Account":
        """Return the calls that were due from `start` to `end`."""
        part = Account([c for c in self.calls if start <= c.due < end])
        part.sent_again = self.sent_again
        return part

    def counts(self) -> dict[str, int]:
        """Return how many there were of each kind."""
        found = Counter(c.kind for c in self.calls)
        return {kind: found[kind] for kind in KINDS}

    def count(self, *kinds: Kind) -> int:
        """Return how many there were of some kinds."""
        return sum(c.kind in kinds for c in self.calls)

    def dishonest(self) -> int:
        """Return how many answers lacked a source without saying so, or said so for nothing."""
        return sum(not c.honest for c in self.calls)

    def outcomes(self, source: str) -> Counter[str]:
        """Return how often one source ended how."""
        return Counter(c.sources[source] for c in self.calls if source in c.sources)

    def quantile_ms(self, q: float) -> float:
        """Return a quantile of the latency in milliseconds; NaN without calls."""
        if not self.calls:
            return float("nan")
        ordered = sorted(c.seconds for c in self.calls)
        return 1000 * ordered[min(int(q * len(ordered)), len(ordered) - 1)]

    def first_use(self, source: str, since: float) -> float | None:
        """Return when, after `since`, an answer first had this source in it; None: never."""
        ends = (c.end for c in self.calls if c.end >= since and c.sources.get(source) == "OK")
        return min(ends, default=None)

    def reasons(self) -> list[str]:
        """Return what failed calls said, the most frequent first, at most three."""
        said = Counter(c.detail for c in self.calls if c.kind == "failed")
        return [f"{number} x {detail}" for detail, number in said.most_common(3)]
