"""How likely a place is looked at, from a log in which the same item stood at several.

Intervention harvesting (Agarwal et al. 2019, "Estimating position bias without intrusive
interventions"), the AllPairs estimator: an item that one shopper was shown at place k and at
place k' has the same relevance at both, so what differs is examination. Rankings move items
between places by themselves: other versions, missing sources, trends, new events. Nothing
is assumed of relevance, and no ranking is shuffled. The log holds no features, so that
regression by them (Wang et al. 2018) has nothing to go by.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import minimize
from scipy.special import expit

from models.data.errors import SourceError

Doubles = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

# First places of groups that are taken as one: further down fewer clicks tell less apart.
_GROUPS = np.array([1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 21, 31])
# Followed exposures that a group needs, and all groups together.
_LEAST_OF_GROUP, _LEAST = 10, 100
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """P(a place is looked at) beside the first place's."""

    firsts: Whole  # first place of each group [G]
    chances: Doubles  # 0..1, the first is 1 [G]
    followed: int  # exposures it was learned from

    def at(self, place: int) -> float:
        """Return the chance of a place, 1 the first; the last group stands for all below."""
        return float(self.chances[np.searchsorted(self.firsts, place, side="right") - 1])


def examination(shown: pl.DataFrame, where: str) -> Examination:
    """Estimate from `shown`: user_id, item_key, place and time (null: not followed).

    Raises SourceError, naming `where` the log lies, where too little moved or was followed.
    """
    clicks, counts = harvested(shown)
    # Each exposure is in as many pairs as there are other groups: count it once.
    told = clicks.max(axis=1)
    used = np.flatnonzero(told >= _LEAST_OF_GROUP)
    if told.sum() < _LEAST or len(used) < 2 or used[0] != 0:
        raise SourceError(
            f"{where}: too little to tell how far down shoppers look: of items that one shopper "
            f"was shown at different places {told.sum():.0f} were followed, {_LEAST} are needed, "
            f"{_LEAST_OF_GROUP} of them at the first place; give more of the log, or train "
            "without it"
        )
    chances = np.full(len(_GROUPS), np.nan)
    chances[used] = all_pairs(clicks[np.ix_(used, used)], counts[np.ix_(used, used)])
    # A group that cannot be told stands as the one above it.
    known = np.maximum.accumulate(np.where(np.isnan(chances), 0, np.arange(len(_GROUPS))))
    return Examination(
        _GROUPS, np.clip(chances[known], _TINY, 1.0), shown["time"].drop_nulls().len()
    )


def harvested(shown: pl.DataFrame) -> tuple[Doubles, Doubles]:
    """Return for places in groups g and h, of what stood in both: followed, and all, at g [G, G].

    Counts are of (shopper, item), each the mean over its exposures in g: an item that is
    shown more often counts no more.
    """
    group = pl.Series(np.searchsorted(_GROUPS, shown["place"].to_numpy(), side="right") - 1)
    rates = (
        shown.with_columns(group=group, followed=pl.col("time").is_not_null())
        .filter(pl.col("user_id") != "")  # whoever has no name is not one shopper
        .group_by("user_id", "item_key", "group")
        .agg(rate=pl.col("followed").mean())
    )
    pairs = (
        rates.join(rates.drop("rate"), on=["user_id", "item_key"], suffix="_other")
        .filter(pl.col("group") != pl.col("group_other"))
        .group_by("group", "group_other")
        .agg(pl.col("rate").sum(), count=pl.len())
    )
    clicks, counts = np.zeros((2, len(_GROUPS), len(_GROUPS)))
    at = pairs["group"].to_numpy(), pairs["group_other"].to_numpy()
    clicks[at] = pairs["rate"].to_numpy()
    counts[at] = pairs["count"].to_numpy()
    return clicks, counts


def all_pairs(clicks: Doubles, counts: Doubles) -> Doubles:
    """Return the chance of each group beside the first's [G], of greatest likelihood.

    `clicks` and `counts` as from `harvested`. A click at g of what also stood at h has the
    chance p[g] * r[g, h]; r is the same both ways.
    """
    size = len(clicks)
    rows, columns = np.triu_indices(size, 1)

    def loss(given: Doubles) -> tuple[float, Doubles]:
        chance = expit(given[:size])
        relevance = np.zeros((size, size))
        relevance[rows, columns] = relevance[columns, rows] = expit(given[size:])
        both = np.clip(chance[:, None] * relevance, _TINY, 1 - _TINY)
        missed = counts - clicks
        value = clicks * np.log(both) + missed * np.log1p(-both)
        slope = clicks - missed * both / (1 - both)  # by log(both)
        by_chance = slope.sum(axis=1) * (1 - chance)
        either = (slope + slope.T)[rows, columns] * (1 - expit(given[size:]))
        return -float(value.sum()), -np.concatenate([by_chance, either])

    start = np.zeros(size + len(rows))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2_000})
    chance = expit(found.x[:size])
    beside: Doubles = chance / chance[0]
    return beside
