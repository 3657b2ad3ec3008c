"""The utility's terms turned up: what the market's trend and the price cost in quality.

Quality is the main metric; the price is looked at where it is shown and where it is paid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from artifacts.fusion import CONVEX, FusionSettings
from artifacts.price_places import PricePlaces
from cli.evaluation.ablation.bench import Bench, way
from cli.evaluation.ranking import Together
from cli.offline import columns_of
from models.evaluate.ablation import Tried, compare
from models.evaluate.metrics import Bools, Doubles, Keys, places
from models.evaluate.report import Ablation

_TRENDS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
_COSTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
_WHAT = (
    "price, place: mean over all that is shown, of the price, and of where it stands in its "
    "category (0 cheapest, 1 dearest); hit: of what was bought. revenue: prices of the hits, a user"
)


@dataclass(frozen=True, slots=True, eq=False)
class _Shelf:
    """Prices of n items by ascending key."""

    keys: Keys
    price: Doubles  # NaN unknown
    place: Doubles  # within the category, NaN unknown


def utility_ablation(bench: Bench) -> tuple[Ablation, ...]:
    """Judge the fusion at several weights of each term."""
    bench = bench.first_users()
    shelf = _shelf(bench)
    learned = bench.artifact.ranker_for("HOME") is not None
    sum_of, ranker = ("weighted sum", True), ("learned ranker", False)
    found = []
    if bench.asked.task.timed:
        found.append(_swept(bench, shelf, "market trend", sum_of))
    for combined in (sum_of, ranker) if learned else (sum_of,):
        found.append(_swept(bench, shelf, "cost, the same for all", combined))
        found.append(_swept(bench, shelf, "cost by shopper", combined))
    return tuple(found)


def _trend(own: FusionSettings, weight: float) -> FusionSettings:
    return replace(own, w_trend=weight)


def _cost(own: FusionSettings, weight: float) -> FusionSettings:
    return replace(own, w_cost=weight, w_cost_personal=0.0)


def _personal(own: FusionSettings, weight: float) -> FusionSettings:
    return replace(own, w_cost=0.0, w_cost_personal=weight)


_TERMS: Mapping[
    str, tuple[tuple[float, ...], Callable[[FusionSettings, float], FusionSettings]]
] = {
    "market trend": (_TRENDS, _trend),
    "cost, the same for all": (_COSTS, _cost),
    "cost by shopper": (_COSTS, _personal),
}


def _swept(bench: Bench, shelf: _Shelf, term: str, combined: tuple[str, bool]) -> Ablation:
    (name, convex), (weights, change) = combined, _TERMS[term]
    fuse = Together(bench.job, bench.asked, bench.sources, bench.answers)
    main = bench.job.plan.measure().main
    tried, k = [], int(main.rpartition("@")[2])
    for weight in weights:

        def changed(own: FusionSettings, weight: float = weight) -> FusionSettings:
            found = change(own, weight)
            return replace(found, ranker=CONVEX) if convex else found

        one = way(f"{name}, {term} {weight:g}", changed)
        ranked = fuse.one(one, bench.artifact, bench.key).lists.keys
        hit = places(ranked[:, :k], bench.asked.task.targets) >= 0
        paid, ratios = _prices(ranked[:, :k], hit, shelf)
        ndcg = bench.metrics(ranked, bench.asked)[main]
        tried.append(Tried(f"weight {weight:g}", {main: ndcg, "revenue": paid}, ratios))
    own = bench.artifact.settings_for("HOME")
    served = {"market trend": own.w_trend, "cost by shopper": own.w_cost_personal}
    return Ablation(
        kind="utility",
        title=f"Utility: {term} (served: {served.get(term, own.w_cost):g}), {name}",
        what=_WHAT,
        users=len(bench.asked.task.user_ids),
        targets=len(bench.asked.task.targets.keys),
        settings=compare(tried, bench.job.plan.measure().how),
    )


def _prices(
    top: Keys, hit: Bools, shelf: _Shelf
) -> tuple[Doubles, Mapping[str, tuple[Doubles, Doubles]]]:
    """Return the price of each user's hits [U], and the mean prices as ratios; top, hit [U, K]."""
    at = np.minimum(np.searchsorted(shelf.keys, top), len(shelf.keys) - 1)
    found: dict[str, tuple[Doubles, Doubles]] = {}
    for name, column in (("price", shelf.price), ("place", shelf.place)):
        known = (top != 0) & ~np.isnan(column[at])
        value = np.where(known, np.nan_to_num(column[at]), 0.0)
        found[name] = value.sum(axis=1), known.sum(axis=1).astype(np.float64)
        both = known & hit
        found[f"hit {name}"] = (
            np.where(both, value, 0.0).sum(axis=1),
            both.sum(axis=1).astype(np.float64),
        )
    return found["hit price"][0], found


def _shelf(bench: Bench) -> _Shelf:
    items: pl.DataFrame = bench.job.dataset.items
    columns = columns_of(bench.artifact, items)
    place = PricePlaces(columns).of(columns.price, columns.category)
    return _Shelf(columns.keys, columns.price.astype(np.float64), place.astype(np.float64))
