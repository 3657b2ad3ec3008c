"""Step 7: where the milliseconds go, read back from the Prometheus endpoints."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rich.table import Table

from cli.demo.walk import Walk, require
from cli.output import milliseconds, table
from cli.scrape import Buckets, Scrape, answering, scrape
from cli.topology import GATEWAY, SOURCES

_REQUESTS = 400
_CALLERS = 4
_SEED = 7


def latency(walk: Walk) -> None:
    """Step 7: some hundred requests, then each stage and each source in milliseconds."""
    walk.heading(
        7,
        "where the time goes",
        "Look for: the stages of a ranking, then each model as the gateway sees it and within.",
    )
    before = _scrape_all(walk)
    _traffic(walk)
    after = _scrape_all(walk)
    walk.say(
        f"{_REQUESTS} requests ({_CALLERS} callers; home and search, seed {_SEED}), read from "
        f"http://{walk.fleet.topology.gateway.host}:{walk.fleet.topology.gateway.metrics_port}"
        "/metrics and those of the models. Milliseconds, estimated within histogram buckets."
    )
    gateway = (before[GATEWAY], after[GATEWAY])
    # In the order of a request: the reply comes last, whenever it was first counted.
    stages = sorted(_rows(gateway, "plait_stage_seconds", "stage"), key=lambda r: r[0] == "reply")
    require(stages, "the gateway's endpoint has no stage latencies")
    whole = _since(gateway, "plait_recommend_seconds")
    walk.out.print(_table("Stage of a ranking", [*stages, ("the whole ranking", whole)]))
    sources = _source_rows(before, after)
    require(all(values.count for _, values in sources), "a model's endpoint counted no request")
    walk.out.print(_table("Source", sources))
    require(whole.count >= _REQUESTS, f"{whole.count:.0f} rankings counted for {_REQUESTS} calls")


def _scrape_all(walk: Walk) -> dict[str, Scrape]:
    return {e.name: scrape(e.host, e.metrics_port) for e in walk.fleet.topology.all}


def _traffic(walk: Walk) -> None:
    """Send requests of households like those in the data; the same ones each time."""
    chance = random.Random(_SEED)  # noqa: S311 -- not for secrets
    words = ("yogurt", "milk", "pasta sauce", "dog food", "bread", "soup")
    calls: list[Callable[[], object]] = []
    for _ in range(_REQUESTS):
        user = chance.choice(walk.cast.users)
        if chance.random() < 0.25:
            query = chance.choice(words)
            calls.append(lambda user=user, query=query: walk.search(user, query))  # type: ignore[misc]
        else:
            calls.append(lambda user=user: walk.home(user))  # type: ignore[misc]
    with ThreadPoolExecutor(_CALLERS) as callers:
        for done in [callers.submit(call) for call in calls]:
            done.result()


def _since(readings: tuple[Scrape, Scrape], name: str, **labels: str) -> Buckets:
    earlier, later = readings
    return later.histogram(name, **labels).minus(earlier.histogram(name, **labels))


def _rows(readings: tuple[Scrape, Scrape], name: str, label: str) -> list[tuple[str, Buckets]]:
    values = readings[1].values(f"{name}_count", label)
    rows = [(value, _since(readings, name, **{label: value})) for value in values]
    return [(value, seen) for value, seen in rows if seen.count]


def _source_rows(before: dict[str, Scrape], after: dict[str, Scrape]) -> list[tuple[str, Buckets]]:
    """Return three lines for each source: the whole call, its wait, the model itself."""
    rows = []
    for name in SOURCES:
        gateway, own = (before[GATEWAY], after[GATEWAY]), (before[name], after[name])
        rows += [
            (
                f"{name}: call from the gateway",
                _since(gateway, "plait_source_seconds", source=name),
            ),
            ("  in the service", answering(own[1]).minus(answering(own[0]))),
            ("  waiting for its batch", _since(own, "plait_queue_seconds", source=name)),
            ("  the model computing", _since(own, "plait_inference_seconds", source=name)),
        ]
    return rows


def _table(what: str, rows: list[tuple[str, Buckets]]) -> Table:
    made = table(what, ">Count", ">p50 ms", ">p95 ms", ">p99 ms", ">Mean ms")
    for name, seen in rows:
        mean = seen.total / seen.count if seen.count else None
        made.add_row(
            name,
            f"{seen.count:.0f}",
            *(milliseconds(seen.quantile(q)) for q in (0.5, 0.95, 0.99)),
            milliseconds(mean),
        )
    return made
