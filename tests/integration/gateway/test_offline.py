"""What the fusion learns from and is judged by is what the gateway computes.

One shop, its events in the state file of a real gateway, three trained models in its process.
The same shoppers are asked about at the same moment in two ways: by a storefront, over gRPC,
and as training and evaluation put their questions. Every number in between must be the same,
item by item: a difference is something that was learned of a world that is not there.
"""

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import polars as pl
import pytest
import pytest_asyncio

from artifacts import layout
from artifacts.engine import Engine
from artifacts.formulas import Floats
from artifacts.fusion import NETWORK, FusionArtifact, load_fusion, save
from artifacts.keys import Keys
from artifacts.ranker.features import names
from artifacts.ranker.network import Network
from artifacts.ranker.ranker import LearnedRanker
from cli.embedded import links
from cli.evaluation.ranking import InVisit
from cli.offline import OfflineFusion
from cli.seed import seed_state
from gateway.app import GatewayApplication
from gateway.config import GatewayConfig
from gateway.fusion.fuse import convex
from gateway.fusion.ranker import _shortlist, shortlist_length
from gateway.fusion.types import Bools, Pool, Query
from models.data.dataset import Dataset
from models.evaluate.fused import Shopper as Asking
from models.evaluate.fused import shopper_of as known_of_shopper
from models.evaluate.ranking import Lists, padded_history, rank, seen_counts
from models.evaluate.task import Task, by_strangers, make_task
from models.fusion import surfaces
from models.fusion.asked import RANKED, VISITS
from models.fusion.asked import Questions as TaughtOf
from models.fusion.cases import TERMS, build_cases
from models.fusion.catalogue import make_catalogue
from models.fusion.config import TEXT, Config, Window
from models.fusion.queries import search_lists, search_task
from models.fusion.rankers import asked_on, known_of, lesson_of, setting_of
from models.fusion.tables import Known, Table, tables_of, unanswered
from models.fusion.train import load_sources, train
from models.train import TrainConfig, train_all
from plait.v1 import types_pb2 as t
from plait.v1.manifest_pb2 import Manifest
from plait.v1.recommendation_service_pb2 import RecommendRequest, SearchRequest, Shopper
from plait.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from services.runtime.server import Server
from tests.support.lively import MOMENT, lively

SOURCES = ("cf", "content", "text")
# Each source leaves some items out.
DEPTH = 60
# Places that are filled with care in serving, and the length of a page.
PLACES, PAGE = 40, 20
CONFIG = Config(depth=DEPTH, ranker=False, visits=60, searches=60)
# Of a session and a cart nothing but themselves is known; of some who search nothing at all.
ASKED = (*RANKED, "SEARCH by strangers")
# Where a ranker speaks though no source does.
ALONE = ("HOME", *VISITS)
# The state file keeps milliseconds, and some of these numbers are logarithms of ages.
NEAR = 5e-4

# What is computed of each item, by its key.
Column = Mapping[int, float]


@dataclass(frozen=True)
class World:
    """A shop, what was learned of it until MOMENT, and what came after."""

    data: Dataset
    window: Window
    repository: Path
    engines: Mapping[str, Engine]
    artifact: FusionArtifact

    def known(self, surface: str) -> Known:
        """What a surface's ranker is taught with, and of items what serving looks up."""
        artifact, events = self.artifact, self.window.known
        stock = make_catalogue(self.data.items, artifact.vectors)
        setting = setting_of(CONFIG, stock, self.engines, self.window, ordered=True)
        until_now = known_of(replace(self.data, events=events), setting, self.window)
        return lesson_of(
            CONFIG, self.data, self.engines, (until_now, self.window), surface=surface
        ).known


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = tmp_path_factory.mktemp("lively")
    data, repository = lively(home / "data"), home / "models"
    repository.mkdir()
    before = pl.col("time") < MOMENT
    window = Window(data.events.filter(before), data.events.filter(~before))
    until_now = replace(data, events=window.known)
    sources = TrainConfig(sources=SOURCES, preset="quick", fusion=False)
    train_all(until_now, repository, sources)
    train(CONFIG, until_now, repository)
    engines = load_sources(repository)
    plain = load_fusion(layout.find(repository, "fusion"))
    made = World(data, window, repository, engines, plain)
    habits = made.known("HOME").habits
    rankers = {
        surface: _ranker(number, tuple(asked_on(surface, engines)), habits, plain.item_keys)
        for number, surface in enumerate(RANKED)
    }
    settings = replace(plain.settings, ranker=NETWORK)
    with layout.publish(repository, "fusion") as (directory, version):
        ranked = replace(plain, settings=settings, rankers=rankers)
        save(directory, ranked, Manifest(version=version))
    return replace(made, artifact=load_fusion(repository / "fusion" / str(version)))


def _ranker(seed: int, sources: tuple[str, ...], habits: Floats, keys: Keys) -> LearnedRanker:
    """A ranker to which every feature matters."""
    rng, width = np.random.default_rng(seed), len(names(sources))

    def drawn(*shape: int) -> Floats:
        return rng.normal(size=shape).astype(np.float32)

    layers, biases = (drawn(width, 4), drawn(4, 1)), (drawn(4), drawn(1))
    network = Network(drawn(width), np.abs(drawn(width)), layers, biases)
    usual = habits.mean(axis=0)
    return LearnedRanker(sources, network, 0.0, 5.0, keys, habits, usual, alone=True)


@dataclass(frozen=True)
class Storefront:
    """Asks a running gateway, and looks at what its rankings were made of."""

    application: GatewayApplication
    gateway: Any

    async def asks(
        self,
        surface: str,
        user: str,
        market: str,
        cart: Sequence[str] = (),
        text: str = "",
        *,
        new: bool = False,
    ) -> tuple[Query, Pool]:
        who = Shopper(user_id=user, market=market)
        # What is sold out now was there when it was bought.
        rules = t.Rules(include_unavailable=True, exclude_purchased=new)
        fields: dict[str, Any] = {
            "shopper": who, "page_size": PAGE, "explain": True, "rules": rules,
        }  # fmt: skip
        if surface == "SEARCH":
            answer = await self.gateway.Search(SearchRequest(query=text, **fields))
        else:
            number = t.Surface.Value(f"SURFACE_{surface}")
            request = RecommendRequest(surface=number, item_ids=cart, **fields)
            answer = await self.gateway.Recommend(request)
        assembled = self.application._assembled
        assert assembled is not None
        kept = assembled.parts.slates._rankings._kept[answer.ranking_id][2]
        assert kept.facts is not None
        columns = assembled.parts.catalogue.columns
        return kept.facts.query._replace(columns=columns), kept.facts.pool


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def storefront(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Storefront]:
    async with _opened(world, tmp_path_factory.mktemp("state")) as found:
        yield found


@pytest.fixture(scope="module")
def bought(world: World) -> World:
    """The same shop, had shoppers done nothing but buy: what they had is what they bought."""
    known = world.window.known.filter(pl.col("type") == "purchase")
    return replace(world, window=replace(world.window, known=known))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counter(
    bought: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Storefront]:
    async with _opened(bought, tmp_path_factory.mktemp("bought")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alone(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Storefront]:
    """The same shop with no model that answers."""
    async with _opened(world, tmp_path_factory.mktemp("alone"), answers=False) as found:
        yield found


@asynccontextmanager
async def _opened(world: World, home: Path, *, answers: bool = True) -> AsyncIterator[Storefront]:
    """What happened until MOMENT is in the state file, and MOMENT is now."""
    # In whole seconds: what the state file rounds of a moment is the same whenever it is run.
    now = float(int(time.time()))
    moved = pl.col("time") + (datetime.fromtimestamp(now, UTC) - MOMENT)
    events = world.window.known.with_columns(time=moved)
    state = home / "state.sqlite"
    seed_state(replace(world.data, events=events), state, align_now=False)
    with pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(time=lambda: now, perf_counter=time.perf_counter)
        patch.setattr("gateway.recommender.time", clock)
        async with _running(world.repository, state, answers=answers) as found:
            yield found


@asynccontextmanager
async def _running(
    repository: Path, state: Path, *, answers: bool = True
) -> AsyncIterator[Storefront]:
    config = GatewayConfig(
        port=0, metrics_port=0, repository=repository, state=state, drain_seconds=0.0,
        sources=tuple(f"{name}=127.0.0.1:1" for name in SOURCES), item_encoders=(),
        candidates=DEPTH, careful_places=PLACES, max_deadline_ms=20_000, least_quality=1.0,
    )  # fmt: skip
    places = {f"PLAIT_{name.upper()}_REPOSITORY": str(repository) for name in SOURCES}
    # Where there are none, nobody listens where they are looked for.
    application = GatewayApplication(config, links(places, SOURCES if answers else ()))
    server = Server(config, application)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield Storefront(application, RecommendationServiceStub(channel))
    finally:
        await server.stop()


@dataclass(frozen=True)
class Questions:
    """The questions of a surface as training and evaluation put them, at MOMENT."""

    surface: str
    task: Task
    lists: Mapping[str, Lists]
    texts: tuple[str, ...] = ()
    strangers: bool = False

    def who(self, user: int) -> str:
        """Who asks the gateway the same: nobody where nobody is known."""
        name = self.task.user_ids[user]
        unknown = self.strangers or self.surface == "CART"
        return "" if unknown else (surfaces.shopper_of(name) or name)


def questions_on(world: World, asked: str) -> Questions:
    surface = asked.split(maxsplit=1)[0]
    known, wanted = world.window.known, world.window.wanted
    engines = {name: world.engines[name] for name in asked_on(surface, world.engines)}
    if surface == "SEARCH":
        task, texts = search_task(world.data.items, known, wanted, searches=40, seed=0)
        strangers = asked != surface
        task = _at_moment(by_strangers(task) if strangers else task)
        lists = search_lists(engines, TEXT, (task, texts), DEPTH, CONFIG.asking)
        return Questions(surface, task, lists, texts, strangers)
    if surface == "HOME":
        task = make_task(known, wanted, exclude_seen=False)
    else:
        begun = world.data.events.filter(pl.col("user_id").str.starts_with("v"))
        visits = surfaces.visits(begun, "time", most=100, seed=0)
        session = surface == "SESSION"
        task = (surfaces.session_task if session else surfaces.cart_task)(visits, 100, 0)
    task = _at_moment(replace(task, exclude_seen=False))
    lists = {name: rank(e, task, DEPTH, CONFIG.asking) for name, e in engines.items()}
    return Questions(surface, task, lists)


def for_new_items(world: World) -> Questions:
    """HOME's questions where what shoppers bought is not to be shown again."""
    task = make_task(world.window.known, world.window.wanted, exclude_seen=True)
    task = _at_moment(task)
    engines = {name: world.engines[name] for name in asked_on("HOME", world.engines)}
    lists = {name: rank(e, task, DEPTH, CONFIG.asking) for name, e in engines.items()}
    return Questions("HOME", task, lists)


def _at_moment(task: Task) -> Task:
    """A cart is asked about when its visit began, a search when it was typed: here, now."""
    now = np.full(len(task.user_ids), MOMENT.timestamp())
    held = task.session is None and len(task.history.keys) > 0
    time_of = now[task.history.users] if held else task.history_time
    return replace(task, now=now, history_time=time_of)


async def served(
    world: World, storefront: Storefront, asked: Questions
) -> AsyncIterator[tuple[int, Query, Pool]]:
    """Yield what the gateway made of each question: its user's number, query and pool."""
    ids = dict(world.data.items.select("item_key", "item_id").iter_rows())
    task = asked.task
    for user in range(len(task.user_ids)):
        cart: list[str] = []
        if asked.surface == "CART":
            mine = slice(task.history.starts[user], task.history.starts[user + 1])
            cart = [ids[key] for key in task.history.keys[mine].tolist()]
        text = asked.texts[user] if asked.texts else ""
        made = await storefront.asks(
            asked.surface, asked.who(user), task.market[user], cart, text, new=task.exclude_seen
        )
        yield user, *made


def column(keys: Keys, values: Any, of: Bools | None = None) -> Column:
    """What is computed of items; where `of` says, all by default."""
    at = np.ones(len(keys), np.bool_) if of is None else of
    return dict(zip(keys[at].tolist(), np.asarray(values)[at].tolist(), strict=True))


def pool_columns(query: Query, pool: Pool, shown: Bools) -> dict[str, Column]:
    """Each source's scores, calibrated and not, and each term, of what may be shown [P]."""
    keys = query.columns.keys[pool.rows]
    found = {}
    for number, source in enumerate(query.sources):
        there = shown & ~np.isnan(pool.scores[number])
        found[f"score {source}"] = column(keys, pool.scores[number], there)
        found[f"calibrated {source}"] = column(keys, pool.calibrated[number], there)
    return found | {f"term {name}": column(keys, of, shown) for name, of in pool.terms.items()}


def differences(offline: Mapping[str, Column], online: Mapping[str, Column]) -> Iterator[str]:
    """Say which columns are not the same on both sides."""
    for name in sorted({*offline, *online}):
        mine, theirs = offline.get(name, {}), online.get(name, {})
        if mine.keys() != theirs.keys():
            apart = len(mine.keys() - theirs.keys()), len(theirs.keys() - mine.keys())
            yield f"{name}: {apart[0]} items offline alone, {apart[1]} online alone"
        both = sorted(mine.keys() & theirs.keys())
        gap = np.array([abs(mine[key] - theirs[key]) / (1 + abs(theirs[key])) for key in both])
        if len(gap) and gap.max() > NEAR:
            yield f"{name}: {int((gap > NEAR).sum())} of {len(gap)} differ, most {gap.max():.2g}"


def same(found: Mapping[str, list[str]]) -> None:
    """Every question had the same numbers, and there were some."""
    assert found
    apart = [f"{who}: {what}" for who, all_of in found.items() for what in all_of]
    assert not apart, f"{len(apart)} differences\n" + "\n".join(apart[:40])


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("asked", ASKED)
async def test_a_ranker_learns_from_the_features_it_is_asked_with(
    world: World, storefront: Storefront, asked: str
) -> None:
    await _taught_as_asked(world, storefront, questions_on(world, asked))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_ranker_of_new_items_learns_from_the_features_it_is_asked_with(
    bought: World, counter: Storefront
) -> None:
    await _taught_as_asked(bought, counter, for_new_items(bought))


async def _taught_as_asked(world: World, storefront: Storefront, questions: Questions) -> None:
    known = _of_artifact(world, questions.surface)
    made = tables_of(questions.task, questions.lists, known, CONFIG.asking)
    await _same_features(world, storefront, questions, made)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("asked", ALONE)
async def test_a_ranker_learns_from_what_it_is_asked_with_where_no_model_answers(
    world: World, alone: Storefront, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.fusion.tables._UNANSWERED", 1)
    questions = questions_on(world, asked)
    known = _of_artifact(world, questions.surface)
    made = unanswered([TaughtOf(questions.task)], [*questions.lists], known, CONFIG.asking)
    await _same_features(world, alone, questions, made)


async def _same_features(
    world: World, storefront: Storefront, questions: Questions, made: Iterable[Table]
) -> None:
    """The gateway's rankers are asked with the tables that they learn from."""
    catalogue = world.known(questions.surface).setting.catalogue
    tables = {table.user: table for table in made}
    found = {}
    async for user, query, pool in served(world, storefront, questions):
        table = tables.get(questions.task.user_ids[user])
        if table is None:  # nothing that is looked for is a candidate
            continue
        assert pool.features is not None
        best = np.arange(len(pool.rows), dtype=np.int32)
        if len(best) > shortlist_length(query) and not pool.fallback:
            best = _shortlist(query, pool, convex(query, pool))
        keys, shown = query.columns.keys[pool.rows], pool.kept
        every = names([*questions.lists])
        online = {
            name: column(keys[best], of, shown[best])
            for name, of in zip(every, pool.features.T, strict=True)
        }
        theirs = catalogue.keys[table.rows]
        # What is not on the shortlist has no features, but is a candidate all the same.
        ranked = np.isin(theirs, keys[best])
        offline = {
            name: column(theirs, of, ranked)
            for name, of in zip(every, table.features.T, strict=True)
        }
        candidates = {"candidates": column(theirs, np.ones(len(theirs)))}
        shown_all = {"candidates": column(keys, np.ones(len(keys)), shown)}
        who = questions.task.user_ids[user]
        found[who] = [*differences(offline | candidates, online | shown_all)]
    same(found)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("asked", ASKED)
async def test_weights_are_tuned_on_the_numbers_that_they_weigh(
    world: World, storefront: Storefront, asked: str
) -> None:
    questions = questions_on(world, asked)
    setting = replace(_of_artifact(world, questions.surface).setting, session=surfaces.SESSION)
    sources = [*questions.lists]
    cases = build_cases(questions.task, questions.lists, sources, setting)
    found = {}
    async for user, query, pool in served(world, storefront, questions):
        case = cases[user]
        theirs = setting.catalogue.keys[case.rows]
        # The shopper's own are the ranker's candidates, what a visit holds is told apart.
        named = ~np.isnan(pool.scores).all(axis=0)
        shown = pool.kept & (named | np.isin(pool.rows, query.leading))
        if questions.surface in VISITS:
            shown &= ~np.isin(pool.rows, query.history)
        of_pool = pool_columns(query, pool, shown)
        online = {n: of for n, of in of_pool.items() if n.startswith("calibrated")}
        offline = {
            f"calibrated {source}": column(theirs, of, of > 0)
            for source, of in zip(sources, case.calibrated, strict=True)
        }
        online = {n: {k: v for k, v in of.items() if v > 0} for n, of in online.items()}
        for name, of in zip(TERMS, case.terms, strict=True):
            if f"term {name}" in of_pool:  # a ranker takes the place of the others
                online[name] = of_pool[f"term {name}"]
                offline[name] = column(theirs, getattr(query, f"w_{name}") * of)
        found[questions.task.user_ids[user]] = [*differences(offline, online)]
    same(found)


class Noted(OfflineFusion):
    """Remembers what the last ranking was made of."""

    def scored(self, shopper: Asking, k: int) -> tuple[Query, Pool]:
        self.made = super().scored(shopper, k)
        return self.made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("asked", ASKED)
async def test_what_is_judged_is_the_slate_that_is_shown(
    world: World, storefront: Storefront, asked: str
) -> None:
    await _judged_as_shown(world, storefront, questions_on(world, asked))


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_judged_of_new_items_is_the_slate_that_is_shown(
    bought: World, counter: Storefront
) -> None:
    questions = for_new_items(bought)
    # Of what the sources think best much was bought before.
    assert np.median(seen_counts(questions.task)) > DEPTH / 4
    await _judged_as_shown(bought, counter, questions)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("asked", ALONE)
async def test_what_is_judged_is_what_is_shown_where_no_model_answers(
    world: World, alone: Storefront, asked: str
) -> None:
    questions = questions_on(world, asked)
    nobody = {
        name: Lists(np.zeros_like(found.keys), np.full_like(found.scores, np.nan))
        for name, found in questions.lists.items()
    }
    await _judged_as_shown(world, alone, replace(questions, lists=nobody))


async def _judged_as_shown(world: World, storefront: Storefront, questions: Questions) -> None:
    """The gateway shows what evaluation judges, and makes it of the same terms."""
    surface, task = questions.surface, questions.task
    fusion = Noted(
        world.artifact, world.data.items, world.known(surface).setting.trends,
        sources=tuple(questions.lists), surface=surface,
    )  # fmt: skip
    everyone = np.arange(len(task.user_ids))
    histories = zip(*padded_history(task, everyone, CONFIG.asking), strict=True)
    found = {}
    async for user, query, pool in served(world, storefront, questions):
        told = next(histories)
        shopper = known_of_shopper(task, user, questions.lists, told)
        if questions.texts:
            shopper = replace(shopper, text=questions.texts[user])
        held = np.unique(shopper.history) if surface in VISITS else np.zeros(0, np.int64)
        fuse = InVisit(fusion, surface) if surface in VISITS else fusion
        slate = fuse(shopper, PLACES - len(held))
        keys = query.columns.keys[pool.rows]
        offline = pool_columns(*fusion.made, fusion.made[1].kept)
        who = task.user_ids[user]
        found[who] = [*differences(offline, pool_columns(query, pool, pool.kept))]
        shown = keys[pool.order[:PLACES]]
        shown = shown[~np.isin(shown, held)][: len(slate)]
        if slate.tolist() != shown.tolist():
            found[who].append(f"slate: other items from place {np.argmin(slate == shown)} on")
    same(found)


def _of_artifact(world: World, surface: str) -> Known:
    """What training knows, with what serving takes from the artifact: it knows more by then."""
    known, artifact = world.known(surface), world.artifact
    setting = replace(known.setting, transition=artifact.domain_transition)
    shelf = replace(known.shelf, popularity=artifact.popularity)
    habits = artifact.rankers["HOME"].habits_of(known.setting.catalogue.keys)
    return replace(known, setting=setting, shelf=shelf, habits=habits)
