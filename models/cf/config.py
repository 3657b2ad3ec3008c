"""How the collaborative filter is trained: its settings, each with what it trades.

The one idea: a setting that data decide is a list, and the trainer takes the best of
it on held-out events (models/cf/tune.py); a list of one is a decision made already.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Config:
    """How the collaborative filter is trained."""

    # ease: ridge regression of each item on all others; the best where it can be made.
    # knn: similarities, no training to speak of. als, bpr: vectors by the library
    # `implicit`, small artifacts.
    method: str = "ease"
    # ease: ridge penalties tried. More: each costs a factorisation where there are more
    # users than items. Greater values trust rare items less.
    regularisations: tuple[float, ...] = (100.0, 300.0, 1000.0)
    # ease, knn: a user with d items counts d^power times. Below 0 those who had much of
    # everything say less; each value tried doubles the training.
    user_powers: tuple[float, ...] = (0.0,)
    # ease, knn: weights kept per item. 128 cost nothing measurable on new items; the
    # artifact has 8 bytes for each, and a request adds up history x this many.
    top_weights: int = 128
    # knn: nearest items that an item is predicted from. More finds more, and more noise.
    companions: tuple[int, ...] = (100, 400)
    # knn: similarities count as if this many more users had taken one of the two alone.
    shrinkage: float = 10.0
    # knn: an item's similarities are divided by their sum to this power. 1: a mean of the
    # neighbours, as in the textbook; 0: a sum, which prefers what has many neighbours.
    normalisations: tuple[float, ...] = (0.0, 0.5, 1.0)
    # als, bpr: length of the vectors. More: finer taste, and time and size in proportion.
    factors: int = 64
    # als: penalties and confidences tried. A taken item counts 1 + confidence times as
    # much as one that was not.
    als_regularisations: tuple[float, ...] = (3.0, 10.0, 30.0)
    confidences: tuple[float, ...] = (5.0, 20.0)
    # als, bpr: rounds over all users and items.
    als_rounds: int = 10
    bpr_rounds: int = 60
    bpr_rate: float = 0.05
    bpr_regularisations: tuple[float, ...] = (0.003, 0.03)
    # Days in which an event loses half its weight in training; 0: never. Shorter follows
    # the seasons, longer has more to learn from. Negative: 90 (HALF_LIFE_DAYS), or never where
    # that foresees clearly more of what is held out.
    half_life_days: float = -1.0
    # Items with fewer events are unknown to this source: nothing can be learned from one.
    min_item_events: int = 2
    # ease: with more items than this, each is predicted from its nearest companions only
    # (models/cf/local.py). All at once takes time as n^2 times the smaller of users and
    # items, a quarter of an hour for these, and with more users than items 4 n^2 bytes.
    dense_items: int = 40_000
    # ease, knn: only so many items, the most popular ones, take part while settings are
    # chosen and measured; they hardly depend on the rest. What is left out counts as
    # missed, so the metrics err on the low side.
    max_tuning_items: int = 12_500
    # ease, knn: from this many items on a request adds up only what its history's items
    # name, instead of an array over all items; the answers are the same.
    index_from: int = 50_000
    # Users that settings are judged by: fewer is faster, more is steadier.
    validation_users: int = 1_000
    # Newest events of a history that count, as in serving.
    max_history: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown method and for a size of nothing."""
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r} is not one of {', '.join(METHODS)}")
        for name in ("factors", "max_tuning_items"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


METHODS = ("ease", "als", "bpr", "knn")
HALF_LIFE_DAYS = 90.0
# A small test of the whole path; quality is the same method's.
PRESETS = {
    "quick": Config(
        regularisations=(300.0,),
        companions=(100,),
        normalisations=(0.5,),
        factors=16,
        als_regularisations=(10.0,),
        confidences=(10.0,),
        bpr_rounds=10,
        bpr_regularisations=(0.01,),
        validation_users=200,
    ),
    "demo": Config(),
    "full": Config(
        regularisations=(50.0, 100.0, 200.0, 400.0, 800.0),
        companions=(50, 100, 200, 400, 800),
        factors=128,
        validation_users=5_000,
    ),
}
