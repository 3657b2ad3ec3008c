"""The gateway's fusion without the gateway: the same stages, fed from a dataset.

What `plait evaluate` calls "fused" is what a storefront gets: `gateway.fusion` over
the sources' answers with the weights of a fusion artifact.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl

from artifacts.fusion import FusionArtifact
from artifacts.keys import Keys
from artifacts.price_places import PricePlaces, cost_sensitivity
from artifacts.ranker.features import OWN_ON, Past, own_rows
from artifacts.ranker.shelf import LEADING_ON, leading
from gateway.fusion.diversify import diversify
from gateway.fusion.order import order
from gateway.fusion.pipeline import SCORING, build_pool, run
from gateway.fusion.ranker import PoolRanker
from gateway.fusion.types import Columns, Floats, Pool, Query, Rows, RuleSet
from gateway.words import Words
from models.evaluate.fused import Shopper
from models.fusion.catalogue import codes

_NONE = np.zeros(0, np.int32)


class OfflineFusion:
    """Fuses answers as the gateway does; one object per fusion artifact and setting.

    `trends` says a market's trend [n] in ascending key order at a time, None if there
    is none. Variety is as the artifact's settings say.
    """

    def __init__(
        self,
        artifact: FusionArtifact,
        items: pl.DataFrame,
        trends: Callable[[str, float], Floats | None],
        *,
        sources: tuple[str, ...],
        surface: str = "HOME",
    ) -> None:
        columns = columns_of(artifact, items)
        settings = artifact.settings_for(surface)
        self._trends = trends
        self._flat = np.zeros(len(columns.keys), np.float32)
        learned = artifact.ranker_for(surface)
        self._words = _words(items) if surface == "SEARCH" and learned is not None else None
        transition = artifact.transition_for(columns.domain_names)
        self._personal = settings.w_cost_personal
        self._leads = surface in LEADING_ON
        priced = bool(settings.w_cost or self._personal)
        self._query = Query(
            surface=surface,
            sources=sources,
            columns=columns,
            history=_NONE,
            history_weight=np.zeros(0, np.float32),
            session=_NONE,
            session_weight=np.zeros(0, np.float32),
            # Whatever is sold out by now, it was there when the shopper was asked about.
            rules=RuleSet(_NONE, _NONE, _NONE, _NONE, _NONE, include_unavailable=True),
            trend=self._flat,
            weights=artifact.weights[surface],
            quantiles=artifact.quantiles,
            domain_transition=transition,
            diversity=settings.diversity,
            domain_calibration=settings.domain_calibration,
            provider_share=settings.provider_share,
            w_trend=settings.w_trend,
            w_session=settings.w_session,
            w_cost=settings.w_cost,
            prices=PricePlaces(columns) if priced else None,
            w_cross_domain=settings.w_cross_domain,
            cross_domain_fade=settings.cross_domain_fade,
            ranker=None if learned is None else PoolRanker(learned),
        )

    def __call__(self, shopper: Shopper, k: int) -> Keys:
        """Return the keys of the best `k` items."""
        query, pool = self.scored(shopper, k)
        pool = order(query, diversify(query, pool))
        found: Keys = query.columns.keys[pool.rows[pool.order[:k]]]
        return found

    def scored(self, shopper: Shopper, k: int) -> tuple[Query, Pool]:
        """Return the query for `k` items and its pool after all stages but the last two.

        These, diversify and order, give places to scores that no longer change.
        """
        rules = replace(
            self._query.rules,
            purchased=self._rows(shopper.seen),
            disliked=self._rows(shopper.disliked),
        )
        trend = self._trends(shopper.market, shopper.now)
        past = Past(self._rows(shopper.past), shopper.past_age, shopper.past_worth)
        again = self._query.surface in OWN_ON and not len(shopper.seen)
        own = own_rows(past) if self._query.ranker is not None and again else _NONE
        query = self._query._replace(
            history=self._rows(shopper.history),
            history_weight=shopper.history_weight,
            rules=rules,
            trend=self._flat if trend is None else trend,
            session=self._rows(shopper.session),
            session_weight=shopper.session_weight,
            w_cost=self._query.w_cost + self._own_cost(shopper),
            limit=k,
            past=past,
            own=own,
            leading=_NONE if trend is None or not self._leads else leading(trend),
            held=_NONE if self._words is None else self._words.holding(shopper.text),
        )
        answers = {s: (self._rows(keys), scores) for s, (keys, scores) in shopper.answers.items()}
        return query, run(query, build_pool(query, answers), stages=SCORING)

    def _own_cost(self, shopper: Shopper) -> float:
        """Return what the cost weighs for this shopper beside what it weighs for all."""
        prices, columns = self._query.prices, self._query.columns
        if not self._personal or prices is None:
            return 0.0
        bought = self._rows(shopper.purchased)
        own = cost_sensitivity(prices.of(columns.price[bought], columns.category[bought]))
        return self._personal * own

    def _rows(self, keys: Keys) -> Rows:
        # Every key of a dataset is in its catalogue.
        return np.searchsorted(self._query.columns.keys, keys).astype(np.int32)


def _words(items: pl.DataFrame) -> Words:
    """Return a dataset's items by their words, as the gateway's catalogue has them."""
    words = Words()
    told = items.sort("item_key").select("title", "brand", "category", "domain")
    for row, texts in enumerate(told.iter_rows()):
        words.add(row, texts)
    return words


def columns_of(artifact: FusionArtifact, items: pl.DataFrame) -> Columns:
    """Return a dataset's items as the gateway's columns, rows in ascending key order.

    The artifact must have been trained on the same items.
    """
    ordered = items.sort("item_key")
    keys = ordered["item_key"].to_numpy().astype(np.int64)
    if not np.array_equal(keys, artifact.item_keys):
        raise ValueError(
            f"the fusion artifact knows {len(artifact.item_keys):,} items, the dataset has "
            f"{len(keys):,}: train the fusion on this dataset"
        )
    domain, domain_names = codes(ordered["domain"])
    category, category_names = codes(ordered["category"])
    brand, brand_names = codes(ordered["brand"])
    provider, provider_names = codes(ordered["provider"])
    return Columns(
        keys=keys,
        domain=domain,
        category=category,
        brand=brand,
        provider=provider,
        price=ordered["price"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        available=ordered["available"].to_numpy(),
        popularity=artifact.popularity,
        vectors=artifact.vectors,
        domain_names=domain_names,
        category_names=category_names,
        brand_names=brand_names,
        provider_names=provider_names,
        sellers=np.arange(len(keys), dtype=np.int32),
    )
