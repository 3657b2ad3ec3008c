"""Everything known about one request before any model is asked.

The shopper's history, the catalogue's snapshot, the rules in rows, the market's
trend and the learned settings come together in one Query; the fusion reads it,
the sources' questions are made from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from artifacts.fusion import FusionArtifact, FusionSettings
from artifacts.keys import item_keys
from artifacts.price_places import PricePlaces, cost_sensitivity
from artifacts.ranker.features import OWN_ON, Past, own_rows
from artifacts.ranker.shelf import LEADING_ON
from gateway.catalogue import Catalogue
from gateway.config import SURFACES, GatewayConfig
from gateway.fusion.ranker import PoolRanker
from gateway.fusion.types import NO_PAST, Floats, Ints, Query, Rows
from gateway.history import History, HistorySettings, about, history_for
from gateway.prices import CurrentPlaces
from gateway.quality import Quality
from gateway.ruleset import resolve, verdicts_unknown
from gateway.trends import Trends
from gateway.types import Ask, Trail

_ABOUT_ITEMS = ("ITEM", "CART")
_NO_KEYS: Ints = np.zeros(0, np.int64)
_NO_ROWS: Rows = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Situation:
    """One request, ready to be asked and ranked."""

    ask: Ask
    query: Query
    history: Ints  # item keys for the models [L]
    history_weight: Floats  # [L]
    history_type: Ints  # EventType of each [L]
    history_age: Floats  # seconds since each [L]
    text: str  # for sources that read text
    candidates: Ints  # RANK: item keys of the caller's own list, unique [C]; else empty
    unknown_ids: tuple[str, ...]  # RANK: those that the catalogue lacks and no rule forbids
    forbidden_ids: tuple[tuple[str, str], ...]  # RANK: the others it lacks, and why
    unknown_items: int  # ids and events of the request that the catalogue lacks


class Situations:
    """Builds situations; holds what is the same for all requests."""

    def __init__(
        self,
        config: GatewayConfig,
        fusion: FusionArtifact,
        catalogue: Catalogue,
        trends: Trends,
        quality: Quality,
    ) -> None:
        self._config = config
        self._catalogue = catalogue
        self._trends = trends
        self._quality = quality
        self._sources = tuple(config.addresses())
        self._prices = CurrentPlaces()
        self.learn(fusion)

    def learn(self, fusion: FusionArtifact) -> None:
        """Take the artifact that requests are answered by from now on."""
        self.fusion = fusion
        self._history = HistorySettings(
            length=self._config.history_length,
            half_life_days=fusion.settings.history_half_life_days,
            floor=self._config.history_floor,
            session_minutes=self._config.session_minutes,
        )
        self._weights: dict[str, Mapping[str, float]] = {
            s: blend_weights(fusion, s, self._sources) for s in SURFACES
        }
        self._settings = {s: fusion.settings_for(s) for s in SURFACES}
        learned = {s: fusion.ranker_for(s) for s in SURFACES}
        self._rankers = {s: PoolRanker(found) for s, found in learned.items() if found is not None}

    @property
    def weights(self) -> Mapping[str, Mapping[str, float]]:
        """Blend weights by surface and source; another object once anything in them changes."""
        return self._weights

    def reweigh(self, surface: str, weights: Mapping[str, float]) -> None:
        """Blend a surface by other weights from now on, until another artifact is learned."""
        self._weights = {**self._weights, surface: weights}

    @property
    def ageing(self) -> HistorySettings:
        """How events age, as learned."""
        return self._history

    def build(self, ask: Ask, trail: Trail, now_ms: int) -> Situation:
        """Combine an ask with the shopper's trail, as of now."""
        catalogue = self._catalogue
        theirs = history_for(ask, trail, now_ms, self._history)
        candidates, context, unknown = _NO_KEYS, _NO_ROWS, 0
        verdicts: dict[str, str] = {}
        # Most requests name no item: what they do not need is left out, a third of the work.
        if len(ask.events):
            unknown += int((catalogue.rows(ask.events.keys) < 0).sum())
        if ask.item_ids:
            keys = item_keys(ask.item_ids)
            rows = catalogue.rows_of(ask.item_ids)
            unknown += int((rows < 0).sum())
            if ask.surface in _ABOUT_ITEMS:
                theirs = about(theirs, keys)
                context = rows[rows >= 0]
            if ask.surface == "RANK":
                candidates = keys[rows >= 0]
                missing = (i for i, row in zip(ask.item_ids, rows, strict=True) if row < 0)
                verdicts = verdicts_unknown(missing, ask.rules, theirs)
        return Situation(
            ask=ask,
            query=self._query(ask, theirs, context, len(candidates), now_ms),
            history=theirs.keys,
            history_weight=theirs.weights,
            history_type=theirs.types,
            history_age=theirs.ages,
            text=ask.text or self._wording(context),
            candidates=candidates,
            unknown_ids=tuple(i for i, reason in verdicts.items() if not reason),
            forbidden_ids=tuple((i, reason) for i, reason in verdicts.items() if reason),
            unknown_items=unknown,
        )

    def _habits(self, ask: Ask, theirs: History) -> tuple[PoolRanker | None, Past, Rows]:
        """Return the surface's learned ranker, and what it knows of the shopper by itself."""
        ranker = self._rankers.get(ask.surface)
        if ranker is None:
            return None, NO_PAST, _NO_ROWS
        past = _past(self._catalogue, theirs)
        again = ask.surface in OWN_ON and not ask.rules.exclude_purchased
        own = own_rows(past, keys=self._catalogue.columns.keys) if again else _NO_ROWS
        return ranker, past, own

    def _cost(self, settings: FusionSettings, theirs: History) -> tuple[float, PricePlaces | None]:
        """Return what the cost weighs for this shopper, and where prices stand if it does."""
        if not settings.w_cost and not settings.w_cost_personal:
            return 0.0, None
        columns = self._catalogue.columns
        prices = self._prices.of(columns)
        if not settings.w_cost_personal:
            return settings.w_cost, prices
        rows = self._catalogue.rows(theirs.purchased)
        rows = rows[rows >= 0]
        own = cost_sensitivity(prices.of(columns.price[rows], columns.category[rows]))
        return settings.w_cost + settings.w_cost_personal * own, prices

    def _wording(self, context: Rows) -> str:
        """ITEM and CART about new items only: their words are all that models can read."""
        if not len(context):
            return ""
        items = [self._catalogue.item(int(row)) for row in context]
        if not all(self._catalogue.is_new(item.key) for item in items):
            return ""
        return " ".join(item.title for item in items)[:256]

    def _query(
        self, ask: Ask, theirs: History, context: Rows, candidates: int, now_ms: int
    ) -> Query:
        catalogue, settings = self._catalogue, self._settings[ask.surface]
        told = len(theirs.keys)
        rows = catalogue.rows(np.concatenate([theirs.keys, theirs.session_keys]))
        history, session = rows[:told], rows[told:]
        told_known, session_known = history >= 0, session >= 0
        ranker, past, own = self._habits(ask, theirs)
        leading = _NO_ROWS
        if ask.surface in LEADING_ON:
            leading = self._trends.leading(ask.market, now_ms)
        limit = max(self._quality.of(self._config.careful_places), ask.page_size)
        w_cost, prices = self._cost(settings, theirs)
        return Query(
            surface=ask.surface,
            sources=self._sources,
            columns=catalogue.columns,
            history=history[told_known],
            history_weight=theirs.weights[told_known],
            session=session[session_known],
            session_weight=theirs.session_weights[session_known],
            rules=resolve(ask.rules, catalogue, theirs),
            trend=self._trends.now(ask.market, len(catalogue.columns.keys), now_ms),
            trending=partial(self._trends.trending, ask.market, now_ms),
            weights=self._weights[ask.surface],
            quantiles=self.fusion.quantiles,  # those of the versions that answer follow
            domain_transition=catalogue.transition,
            text=ask.text,
            limit=max(candidates, 1) if ask.surface == "RANK" else limit,
            diversity=settings.diversity if ask.diversity is None else ask.diversity,
            w_trend=settings.w_trend,
            w_session=settings.w_session,
            w_cost=w_cost,
            prices=prices,
            domain_calibration=settings.domain_calibration,
            provider_share=settings.provider_share,
            w_cross_domain=settings.w_cross_domain,
            cross_domain_fade=settings.cross_domain_fade,
            explain=ask.explain,
            context=context,
            history_bought=theirs.bought[told_known],
            ranker=ranker,
            past=past,
            own=own,
            leading=leading,
            named=self._named(ask),
            held=_NO_ROWS if ranker is None else self._held(ask),
            is_new=catalogue.is_new,
        )

    def _named(self, ask: Ask) -> Rows:
        """Return the row of the item whose id was searched for."""
        if ask.surface != "SEARCH":
            return _NO_ROWS
        row = self._catalogue.row_of(ask.text)
        return np.array([row], np.int32) if row >= 0 else _NO_ROWS

    def _held(self, ask: Ask) -> Rows:
        """Return the rows of the items that hold each of several words searched for."""
        return self._catalogue.holding(ask.text) if ask.surface == "SEARCH" else _NO_ROWS


def blend_weights(
    fusion: FusionArtifact, surface: str, sources: tuple[str, ...]
) -> dict[str, float]:
    """Return the learned weight of each source on a surface, HOME's where it has none.

    A source that the artifact was not tuned on gets the mean of the others: it
    counts from its first day, and not more than they do.
    """
    learned = fusion.weights.get(surface) or fusion.weights.get("HOME") or {}
    known = [learned[s] for s in sources if s in learned]
    usual = sum(known) / len(known) if known else 1.0
    return {s: float(learned.get(s, usual)) for s in sources}


def _past(catalogue: Catalogue, theirs: History) -> Past:
    rows = catalogue.rows(theirs.past_keys)
    at = rows >= 0
    return Past(rows[at], theirs.past_age[at], theirs.past_worth[at])
