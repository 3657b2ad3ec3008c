"""The gateway put together: what depends on what, once the state is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from artifacts.fusion import FusionArtifact
from gateway.adaptive import AdaptiveWeights
from gateway.admission.lanes import build_lanes
from gateway.admission.turns import Turns
from gateway.api.servicer import Parts
from gateway.catalogue import Catalogue
from gateway.config import GatewayConfig
from gateway.embedder import Embedder
from gateway.events import EventTaker
from gateway.exposure import ExposureLog
from gateway.followers import Followers
from gateway.forgetting import Forgetter
from gateway.idle import IdleRankings, Moment
from gateway.keeper import CatalogueKeeper
from gateway.link import Link
from gateway.loading import State
from gateway.merging import Merger
from gateway.paging import Rankings
from gateway.profiles import Profiles
from gateway.quality import Quality
from gateway.quantiles import Quantiles
from gateway.recommender import Recommender
from gateway.retrieval import Retrieval
from gateway.rollouts.asking import VersionedFanOut
from gateway.rollouts.canaries import Canaries
from gateway.rollouts.fusion import FusionVersions, Learners
from gateway.rollouts.record import Record, RecordFile, RecordKeeper
from gateway.rounds import Rounds
from gateway.situation import Situations
from gateway.slates import Slates
from gateway.sources import Source
from gateway.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Known:
    """What was read at the start."""

    state: State
    fusion: FusionArtifact
    record: Record  # of versions and canaries


@dataclass(frozen=True, slots=True)
class Assembled:
    """What the servicers work with, and what must be stopped."""

    parts: Parts
    embedder: Embedder
    adaptive: AdaptiveWeights
    record: RecordKeeper


def assemble(
    config: GatewayConfig,
    links: Mapping[str, Link],
    known: Known,
    exposures: ExposureLog | None,
) -> Assembled:
    """Put the gateway together and start what works in the background.

    `links`: the connection to each source. Call it on the event loop.
    """
    state, fusion = known.state, known.fusion
    catalogue, store = state.catalogue, state.store
    embedder, keeper = _keeping(config, links, state)
    traffic = Traffic()
    lanes = build_lanes(config, traffic)
    sources = _sources(config, links, state, Rounds(traffic))
    rollouts = RecordKeeper(RecordFile(config.state), known.record)
    canaries = Canaries(sources, rollouts, lambda name: links[name].look_again())
    quantiles = Quantiles(config.repository, fusion)
    situations = Situations(config, fusion, catalogue, state.trends, lanes.quality)
    adaptive = AdaptiveWeights(config, situations, store, state.adapted)
    recommender = Recommender(
        situations,
        catalogue,
        state.trails,
        _retrieval(
            config,
            links,
            state,
            sources,
            canaries=canaries,
            quantiles=quantiles,
            quality=lanes.quality,
        ),
        merger=Merger(Turns(traffic)),
        traffic=traffic,
        evidence=adaptive.evidence,
    )
    slates = Slates(
        recommender,
        lanes.rankings,
        _rankings(config, catalogue),
        catalogue,
        exposures,
        trails=state.trails,
        idle=IdleRankings(
            _Moments(links, state, situations, canaries),
            capacity=config.max_idle_rankings,
            seconds=config.idle_seconds,
        ),
        adaptive=adaptive,
        most_ms=config.max_deadline_ms,
        reserve_ms=config.merge_reserve_ms,
    )
    followers = Followers(catalogue, exposures, adaptive)
    learners = Learners(state, situations, quantiles, adaptive, keeper.count)
    parts = Parts(
        slates=slates,
        catalogue=catalogue,
        events=EventTaker(store, catalogue, state.trails, state.trends, followers.follow),
        keeper=keeper,
        forgetter=Forgetter(
            store, exposures, (state.trails.forget, slates.forget, adaptive.forget)
        ),
        canaries=canaries,
        fusion=FusionVersions(config.repository, rollouts, learners, fusion.version),
        profiles=Profiles(store, catalogue, lambda: situations.ageing),
        lanes=lanes,
    )
    # Last, so that nothing is left running where something could not be put together.
    keeper.count()
    embedder.start()
    adaptive.start()
    return Assembled(parts, embedder, adaptive, rollouts)


def _retrieval(
    config: GatewayConfig,
    links: Mapping[str, Link],
    state: State,
    sources: tuple[Source, ...],
    *,
    canaries: Canaries,
    quantiles: Quantiles,
    quality: Quality,
) -> Retrieval:
    return Retrieval(
        sources,
        state.catalogue,
        state.new_items,
        VersionedFanOut(canaries.versions_for, lambda name: links[name].look_again()),
        quantiles,
        candidates=partial(quality.of, config.candidates),
        search_share=config.search_share,
        without=config.surfaces_without(),
    )


def _rankings(config: GatewayConfig, catalogue: Catalogue) -> Rankings:
    return Rankings(
        catalogue.has,
        catalogue.on_sale,
        capacity=config.max_rankings,
        seconds=60 * config.ranking_minutes,
    )


@dataclass(frozen=True, slots=True)
class _Moments:
    """What a shopper's ranking depends on, as it is now."""

    links: Mapping[str, Link]
    state: State
    situations: Situations
    canaries: Canaries

    async def __call__(self, user_id: str, until: float) -> Moment:
        trail = await self.state.trails.get(user_id, until)
        stamps = (link.stamp for link in self.links.values())
        versions = tuple(self.canaries.versions_for(user_id).items())
        return Moment(
            (trail, self.situations.fusion, self.situations.weights),
            (self.state.catalogue.changes, versions, *stamps),
        )


def _keeping(
    config: GatewayConfig, links: Mapping[str, Link], state: State
) -> tuple[Embedder, CatalogueKeeper]:
    """Return who places new items, and who keeps the catalogue."""
    embedder = Embedder(
        {name: links[name] for name in config.encoders()},
        state.new_items,
        state.store,
        retry_ms=config.embed_retry_ms,
    )
    keeper = CatalogueKeeper(
        state.store,
        state.catalogue,
        state.new_items,
        state.trends,
        embedder,
        embed_seconds=config.embed_timeout_ms / 1000,
    )
    return embedder, keeper


def _sources(
    config: GatewayConfig, links: Mapping[str, Link], state: State, rounds: Rounds
) -> tuple[Source, ...]:
    return tuple(
        Source(
            link,
            rounds,
            max_rows=config.rows_per_call,
            max_calls=config.calls_in_flight,
            knows=state.catalogue.knows_any,
        )
        for link in links.values()
    )
