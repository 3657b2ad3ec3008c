"""Where the gateway's own time goes in a request, part by part.

One process holds the gateway and the job's models (as `plait up --embedded` does). Each
part is timed alone and warm, the least of many runs, in microseconds of this process.
Between two requests of a busy gateway other processes leave little of it in the caches:
there the same parts take about twice as long.

`--demo` takes the demo's models, with their learned ranker, and its best known shopper
(after `make train`); `--candidates` how many are asked of each source.

python -m benchmarks.gateway_parts [--merge-only | --demo] [--candidates N]
"""

import argparse
import asyncio
import math
import os
import sqlite3
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

# Before numpy is loaded, as in the gateway.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks import costs
from benchmarks.command import count, ended
from benchmarks.job import HISTORY
from benchmarks.job.publish import repository
from benchmarks.job.state import write_state
from benchmarks.job.wire import CODECS
from benchmarks.job.world import World, world
from benchmarks.load import SHOPPERS
from benchmarks.systems.plait import DEFAULTS, JOB, gateway_settings
from benchmarks.systems.process import ROOT
from cli.embedded import links
from cli.failures import UserError
from cli.topology import SOURCES
from gateway import observe
from gateway.api.read import read_recommend
from gateway.api.servicer import Parts
from gateway.api.write import Cards, write_page
from gateway.app import GatewayApplication
from gateway.config import GatewayConfig
from gateway.extending import extended
from gateway.fusion.diversify import diversify
from gateway.fusion.pipeline import SCORING, STAGES, build_pool, run
from gateway.merging import MOST, Merge, run_together
from gateway.retrieval import Gathered
from gateway.situation import Situation
from gateway.trails import EMPTY
from gateway.types import Ask, Page
from plait.v1 import recommendation_service_pb2 as api
from plait.v1 import types_pb2 as types
from services.runtime.config import load

_DEMO_MODELS, _DEMO_STATE = ROOT / "var/models", ROOT / "var/state.sqlite"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--merge-only", action="store_true")
    what.add_argument("--demo", action="store_true")
    parser.add_argument("--candidates", type=count)
    arguments = parser.parse_args()
    settings = {} if arguments.demo else dict(JOB if arguments.merge_only else DEFAULTS)
    if arguments.candidates is not None:
        settings["CANDIDATES"] = str(arguments.candidates)

    def work() -> None:
        with tempfile.TemporaryDirectory(prefix="plait-parts-") as name:
            subject = of_the_demo if arguments.demo else of_the_job
            for part, took in asyncio.run(measure(subject(Path(name)), settings)).items():
                print(f"{part:<28}{took:8.1f}")

    return ended(work)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a shop's models and state, and one request."""

    models: Path
    state: Path
    request: bytes


def of_the_job(work: Path) -> Subject:
    """Return the benchmark's own shop."""
    shop = world(0)
    write_state(work / "state.sqlite", shop, SHOPPERS, costs.LENGTHS)
    return Subject(repository(0), work / "state.sqlite", ask_of(shop))


def of_the_demo(work: Path) -> Subject:
    """Return the demo's shop, asked by the shopper it knows best."""
    if not _DEMO_STATE.is_file():  # which connecting would make
        raise UserError(f"{_DEMO_STATE}: there is no store of the demo; make train makes one")
    state = work / "state.sqlite"
    with closing(sqlite3.connect(_DEMO_STATE)) as known, closing(sqlite3.connect(state)) as copy:
        known.backup(copy)
        best = "SELECT user_id FROM events GROUP BY user_id ORDER BY count(*) DESC, user_id LIMIT 1"
        (user_id,) = copy.execute(best).fetchone()
    request = api.RecommendRequest(surface=types.SURFACE_HOME, page_size=20)
    request.shopper.user_id = user_id
    return Subject(_DEMO_MODELS, state, request.SerializeToString())


async def measure(subject: Subject, settings: dict[str, str]) -> dict[str, float]:
    """Return the microseconds of each part."""
    application = gateway(subject, settings)
    await application.start()
    try:
        parts = application._ready()
        seen = await one_request(parts, subject.request)
        found = around(parts, subject.request, seen) | merging(seen) | cohort(seen)
        return found | variety(seen) | await whole(parts, seen)
    finally:
        await application.stop()


def gateway(subject: Subject, settings: dict[str, str]) -> GatewayApplication:
    """Return a gateway with the four models in it, not started."""
    models = str(subject.models)
    environ = gateway_settings({**settings, "STATE": str(subject.state), "REPOSITORY": models})
    environ |= {f"PLAIT_{source.upper()}_REPOSITORY": models for source in SOURCES}
    config = load(GatewayConfig, "gateway", environ)
    return GatewayApplication(config, links(environ, config.addresses()))


def ask_of(shop: World) -> bytes:
    """Return one shopper's request, as it comes."""
    return CODECS["shopper"].request(0, shop.histories(SHOPPERS, HISTORY)[0])


@dataclass(frozen=True, slots=True)
class Seen:
    """One request on its way through."""

    ask: Ask
    situation: Situation
    gathered: Gathered
    page: Page


async def one_request(parts: Parts, request: bytes) -> Seen:
    """Answer one request and return what was between."""
    recommender = parts.slates._recommender
    ask = read_recommend(api.RecommendRequest.FromString(request), _now(), 20)
    trail = await recommender._trails.get(ask.user_id, time.perf_counter() + 5)
    situation = recommender._situations.build(ask, trail, _now())
    gathered = await recommender._retrieval.gather(situation, time.perf_counter() + 5)
    # What explains it is kept with it, and costs nothing until it is asked for.
    page = await parts.slates.page(replace(ask, explain=True), None)
    return Seen(ask, situation, gathered, page)


def around(parts: Parts, request: bytes, seen: Seen) -> dict[str, float]:
    """Return what the parts around the merge take."""
    recommender, cards = parts.slates._recommender, Cards()
    trail = recommender._trails._trails[seen.ask.user_id]
    plain = replace(seen.page, ranking=replace(seen.page.ranking, facts=None))

    def write(page: Page) -> api.RecommendResponse:
        return write_page(api.RecommendResponse(), page, parts.catalogue, cards)

    ranking = seen.page.ranking
    message, inline = api.RecommendRequest.FromString(request), _with_history(request)
    told = read_recommend(inline, _now(), 20)
    return {
        "read the request": least(lambda: read_recommend(message, _now(), 20)),
        f"with {HISTORY} events": least(lambda: read_recommend(inline, _now(), 20)),
        "join them to an empty past": least(lambda: extended(EMPTY, told.events, HISTORY)),
        "situation": least(lambda: recommender._situations.build(seen.ask, trail, _now())),
        "item keys to rows": least(
            lambda: recommender._retrieval._to_rows([*seen.gathered.answers.values()])
        ),
        "cut the page": least(lambda: parts.slates._rankings.first_page(ranking, 20)),
        "write the reply": least(partial(write, plain)),
        "write it explained": least(partial(write, seen.page)),
        "serialise it": least(write(plain).SerializeToString),
        "metrics": least(lambda: observe.note_page(plain, 0.001, first=True)),
    }


def _with_history(request: bytes) -> api.RecommendRequest:
    """Return a request that brings its shopper's history."""
    message = api.RecommendRequest.FromString(request)
    for number in range(HISTORY):
        event = message.shopper.events.add(item_id=str(number + 1), type=types.EVENT_TYPE_PURCHASE)
        event.event_time.FromMilliseconds(_now() - 60_000 * (HISTORY - number))
    return message


def merging(seen: Seen) -> dict[str, float]:
    """Return what the pool and every stage take."""
    query, candidates = seen.gathered.query, seen.gathered.candidates
    pool = build_pool(query, candidates, query.own)
    size = f"pool of {len(pool.rows)}"
    found = {size: least(lambda: build_pool(query, candidates, query.own))}
    for stage in STAGES:
        found[f"stage {stage.__name__}"] = least(partial(stage, query, pool))
        pool = stage(query, pool)
    return found | {"pool and all stages": sum(found.values())}


def cohort(seen: Seen) -> dict[str, float]:
    """Return what merging one of several takes, one after the other and stage by stage."""
    gathered = seen.gathered

    def merges() -> list[Merge]:
        pool = partial(build_pool, gathered.query, gathered.candidates, gathered.query.own)
        return [Merge(gathered.query, pool, math.inf) for _ in range(MOST)]

    def alone() -> None:
        for merge in merges():
            run_together([merge])

    return {
        "merge, one by one": least(alone) / MOST,
        f"merge, {MOST} together": least(lambda: run_together(merges())) / MOST,
    }


def variety(seen: Seen) -> dict[str, float]:
    """Return what each mechanism takes to order 100 places of the best 200 candidates."""
    gathered = seen.gathered.query
    # The job's items have no provider: its 97 brands stand in for some.
    columns = replace(gathered.columns, provider=gathered.columns.brand)
    plain = gathered._replace(columns=columns, limit=100, diversity=0.0)
    pool = run(plain, build_pool(plain, seen.gathered.candidates), stages=SCORING)
    tried = {"diversity": 0.1, "domain_calibration": 0.1, "provider_share": 0.2}
    changes = {**{name: {name: value} for name, value in tried.items()}, "all three": tried}
    return {
        f"places, {name}": least(partial(diversify, plain._replace(**change), pool))  # type: ignore[arg-type]
        for name, change in changes.items()
    }


async def whole(parts: Parts, seen: Seen) -> dict[str, float]:
    """Return what one request takes with everything but asking the models."""
    retrieval = parts.slates._recommender._retrieval

    async def gather(_situation: Situation, _until: float) -> Gathered:
        return seen.gathered

    retrieval.gather = gather  # type: ignore[method-assign,assignment]
    took = []
    for _ in range(30):
        began = time.process_time()
        for _ in range(50):
            await parts.slates.page(seen.ask, None)
        took.append((time.process_time() - began) / 50)
    return {"all but asking, once": 1e6 * min(took)}


def least(part: Callable[[], Any], number: int = 100, repeat: int = 20) -> float:
    """Return the least microseconds of processor time a call of many."""
    timer = timeit.Timer(part, timer=time.process_time)
    return 1e6 * min(timer.repeat(repeat=repeat, number=number)) / number


def _now() -> int:
    return int(time.time() * 1000)


if __name__ == "__main__":
    sys.exit(main())
