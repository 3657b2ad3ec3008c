"""What the fusion's training is given: its configuration, held-out events, the sources."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from artifacts.engine import Engine
from artifacts.formulas import Floats
from models.evaluate.ranking import Asking

# The source that reads queries, and finds the candidates of a search.
TEXT = "text"
# Settings of which there must be some: NDCG of no places is no number, a network of none no
# network, and a target that followed weighs no less than another.
_SIZES = ("depth", "k", "moments", "ranker_users", "members", "passes", "exposure_most")


@dataclass(frozen=True, slots=True)
class Config:
    """How the fusion is tuned. More questions: steadier weights, more seconds."""

    # Visits asked about on each surface.
    visits: int = 1500
    # Users asked on HOME where events have no times, and so make no visits.
    users: int = 1500
    # Searches made up.
    searches: int = 400
    # Candidates taken from each source, as in serving.
    depth: int = 200
    # NDCG is taken at this many places: about what a shopper scrolls through.
    k: int = 20
    # As the gateway reads histories and trends.
    asking: Asking = field(default_factory=Asking)
    trend_half_life_days: float = 3.0
    # Whether HOME is tuned without items the user had before; None: as the data says.
    exclude_seen: bool | None = None
    # Share of NDCG that variety may cost; less: more relevant and more alike. Half of what a
    # shop should lose at most: what one month is sure of the next may cost twice (decision 26).
    variety_cost: float = 0.005
    # How HOME keeps to the history's mix of domains, and the share of the places that one
    # provider gets at most; not learned, see FusionSettings.
    domain_calibration: float = 0.0
    provider_share: float = 1.0
    # Learn a ranker where events have times and it ranks better; False: weights alone.
    ranker: bool = True
    # Moments of the held-out window at which the ranker's questions are asked, the users
    # asked at each, and how many questions it takes at least to learn anything.
    moments: int = 3
    ranker_users: int = 2000
    least_questions: int = 300
    # Visits of a window that the rankers of SESSION and CART are asked about, and searches
    # that SEARCH's is; 0: HOME alone has one. Three thousand take some minutes of training.
    ranker_visits: int = 3000
    # Ask too what followed as long a time before the held-out window, of sources that are
    # trained once more up to there: questions of another season, for minutes of training.
    earlier: bool = True
    # Units of its layers, networks whose mean it is, and passes over the questions.
    hidden: tuple[int, ...] = (64, 32)
    members: int = 2
    passes: int = 5
    # Exposure logs of the gateway: the ranker's targets then count as their places were
    # looked at (models/fusion/exposures.py), each at most `exposure_most` times. More: less
    # bias is left, and chance clicks far down weigh more.
    exposures: tuple[str, ...] = ()
    exposure_most: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a size of nothing, and for a share beyond 0 to 1."""
        for name in _SIZES:
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if min(self.hidden, default=1) < 1:
            raise ValueError(f"hidden is {list(self.hidden)}, expected at least 1 in each layer")
        for name in ("domain_calibration", "provider_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a share from 0 to 1")


PRESETS = {
    "quick": Config(
        visits=100,
        users=200,
        searches=50,
        moments=1,
        ranker_users=400,
        passes=3,
        earlier=False,
        ranker_visits=600,
    ),
    "demo": Config(),
    "full": Config(visits=4000, users=4000, searches=1000),
}


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Events the sources may know, and what came after; nothing after: no tuning."""

    known: pl.DataFrame
    wanted: pl.DataFrame
    # A window before it, from which the ranker learns too.
    earlier: "Earlier | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """A window before the held-out one, and the sources as they were when it began."""

    window: Window
    engines: Mapping[str, Engine]


def readers(engines: Mapping[str, Engine]) -> list[str]:
    """Return the sources that can answer from a history alone, in the order of `engines`."""
    return [n for n, e in engines.items() if any(i.name == "history" for i in e.manifest.inputs)]


def quantiles_of(engine: Engine) -> tuple[Floats, Floats]:
    """Return (probabilities, scores), both ascending, from an engine's manifest."""
    points = engine.manifest.score_quantiles
    probabilities = np.array([p.probability for p in points], np.float32)
    scores = np.array([p.score for p in points], np.float32)
    return probabilities, np.maximum.accumulate(scores)
