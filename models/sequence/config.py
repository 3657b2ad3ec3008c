"""How the sequence model is trained: its settings, each with what it trades.

The one idea: what suits long histories of repeated purchases does not suit short ones of
single events, so a preset is a whole configuration and not a few fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.index import LISTS_FROM
from models.sequence.encoders import ENCODERS
from models.sequence.fit import Plan
from models.sequence.prepare import Windows

_SIZES = (
    "width", "blocks", "heads", "max_history", "batch", "places", "horizon", "targets",
    "steps", "threads",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """How the sequence model is trained."""

    # What reads the history: attention, lstm or gru. Attention learns most; the others are
    # for comparison, and for histories whose every step matters.
    encoder: str = "attention"
    # Size of the item vectors. More holds more taste and costs time in proportion.
    width: int = 64
    # Layers of the encoder. One is nearly as good on short histories, two compose.
    blocks: int = 2
    heads: int = 2
    # Newest events that are read, in training and in serving. A request's time grows with it.
    max_history: int = 200
    # Share of activations dropped in training: more for small data and many epochs, which
    # would otherwise be learned by heart; none where there is time for a few epochs only.
    dropout: float = 0.0
    # 0: scores are products, and learn to copy and to weigh popularity within a few hundred
    # steps. Else cosines over this, about .07: several times fewer epochs where data are few.
    temperature: float = 0.0
    # Windows per step; more of them where histories are shorter than `places`. More is
    # steadier, fewer learn faster per event.
    batch: int = 32
    # Places predicted from per window: more learn more from one pass over it.
    places: int = 16
    # Next events that count as following, and how many of them are drawn as targets.
    # 1 asks for the very next item; more asks for the next few baskets, which is what a
    # shop can act on and is less noisy.
    horizon: int = 40
    targets: int = 10
    # They are drawn by their distance to minus this power: 0 draws all alike, for shops where
    # people buy what they like in any order, more the soonest first, where one thing leads to
    # the next. None: as held-out events say.
    nearness: float | None = None
    # Shoppers buy again where shops sell groceries; where they do not, leave copying out.
    # None: as the events say.
    repeats: bool | None = True
    # Shared negatives per step: fewer is faster, more is nearer to the true softmax; 0 takes
    # all items, for small catalogues.
    negatives: int = 1_024
    # Negatives are drawn by popularity to this power: 0 uniform, 1 as they sell.
    negative_power: float = 0.5
    # Learn item vectors from domain, category, brand, provider and attributes as well: for
    # shops where most items sell rarely. Costs nothing when serving.
    features: bool = False
    # Read what each event was (a view, a purchase, ..): of use where there is more than one type.
    types: bool = False
    # Read how long after an event the next came, and how long ago each is; needs times.
    gaps: bool = False
    # Start from the spectrum of who bought what: a head start where steps are few.
    spectral_start: bool = True
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    # Steps at most, and seconds at most (0: no limit); whichever comes first ends training.
    # With the limit in seconds reached, two runs may differ.
    steps: int = 320
    max_seconds: float = 0.0
    # Looks at held-out events during training, on so many users, and how many of them may
    # bring nothing better before training stops.
    evaluations: int = 2
    patience: int = 2
    validation_users: int = 500
    # Last steps on all events, the held-out ones included; 0 ships what was measured.
    finishing_steps: int = 40
    # Train on all events and stop at this step, without looking at held-out ones: to repeat
    # a run whose best step is known, on more data. 0: hold out and look.
    stop_after: int = 0
    # Items with fewer events are unknown to this source.
    min_item_events: int = 2
    # Catalogues of so many items are searched by lists. Lower: an item in a hundred is
    # missed; see models/index.py.
    index_from: int = LISTS_FROM
    # Threads of torch. Two save a third of the time on two idle cores, and cost ten times as
    # much where another process wants one of them.
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for what no network can be made of, or trained with."""
        for name in _SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout is {self.dropout}, expected a share from 0 to 1")
        if self.nearness is not None and not 0 <= self.nearness < float("inf"):
            raise ValueError(f"nearness is {self.nearness}, expected a number from 0")
        if self.encoder not in ENCODERS:
            raise ValueError(
                f"there is no encoder {self.encoder!r}; there are: {', '.join(ENCODERS)}"
            )
        if self.encoder == "attention" and self.width % self.heads:
            raise ValueError(
                f"width is {self.width}, which {self.heads} heads cannot share evenly; "
                "choose a multiple"
            )


PRESETS = {
    # A small test of the whole path; quality is the same method's.
    "quick": Config(steps=60, evaluations=1, validation_users=200),
    "demo": Config(),
    # Next-item prediction on short histories, as in the literature; minutes. Where people
    # buy again, what they had is copied all the same.
    "full": Config(
        max_history=50,
        dropout=0.5,
        temperature=0.07,
        batch=40,
        places=50,
        horizon=1,
        targets=1,
        repeats=None,
        negatives=512,
        features=True,
        learning_rate=4e-3,
        steps=1_600,
        evaluations=10,
        patience=3,
        validation_users=3_000,
        finishing_steps=60,
    ),
}


def fixed(config: Config, metrics: Mapping[str, float]) -> Config:
    """Return the configuration that repeats a finished training, from its manifest's metrics.

    It stops where that one was best and holds nothing out, so it may learn from the
    events that one was judged by.
    """
    near = metrics.get("nearness", config.nearness)
    return replace(config, stop_after=int(metrics["steps"]), nearness=near)


def windows(config: Config) -> Windows:
    """Return how batches are cut."""
    return Windows(
        batch=config.batch,
        length=config.max_history,
        places=config.places,
        targets=config.targets,
        horizon=config.horizon,
        nearness=config.nearness or 0.0,
    )


def plan(config: Config, *, finishing: bool = False) -> Plan:
    """Return the training plan; the finishing one is short and gentle."""
    share = config.finishing_steps / max(1, config.steps)
    return Plan(
        steps=config.finishing_steps if finishing else config.steps,
        max_seconds=config.max_seconds * share if finishing else config.max_seconds,
        learning_rate=config.learning_rate * (0.25 if finishing else 1.0),
        weight_decay=config.weight_decay,
        negatives=config.negatives,
        negative_power=config.negative_power,
        evaluations=config.evaluations,
        patience=config.patience,
        seed=config.seed + (1 if finishing else 0),
        stop_after=0 if finishing else config.stop_after,
    )
