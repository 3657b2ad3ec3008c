"""Step 6: a model service is killed; nobody goes without an answer."""

import time

from cli.demo.walk import Walk, require
from cli.rankings import coverage_line, missing, outcome
from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import RecommendResponse

VICTIM = "sequence"
_PATIENCE = 30.0


def loss(walk: Walk) -> None:
    """Step 6: kill -9, a partial answer, and back without anybody's help."""
    walk.heading(
        6,
        f"the {VICTIM} model is killed",
        "Look for: the same call still answers and names who is missing; later it is used again.",
    )
    walk.settle()
    before = walk.home(walk.cast.household)
    require(_outcome(before) == "ok", f"{VICTIM} is missing before it was killed")
    pid = walk.fleet.kill(VICTIM)
    began = time.perf_counter()
    without = walk.home(walk.cast.household)
    took = 1000 * (time.perf_counter() - began)
    walk.say(f"kill -9 {pid} ({VICTIM}); the same call, at once, took {took:.1f} ms:")
    walk.out.print(coverage_line(without))
    require(len(without.items) == len(before.items), "the answer got shorter")
    require(any(VICTIM in text for text in missing(without)), f"{VICTIM} is not named as missing")
    require(without.coverage.partial, "the answer does not say that it is partial")
    kept = len({i.item_id for i in before.items} & {i.item_id for i in without.items})
    walk.say(f"{kept} of its {len(before.items)} items are still there.")
    back = _wait(walk)
    walk.say(f"{time.perf_counter() - began:.1f} s after its end it is used again, by itself:")
    walk.out.print(coverage_line(back))


def _wait(walk: Walk) -> RecommendResponse:
    """Ask until the model takes part again; every answer on the way must be complete in items."""
    until = time.perf_counter() + _PATIENCE
    while time.perf_counter() < until:
        answer = walk.home(walk.cast.household)
        require(answer.items, "an answer came back empty while a model was away")
        if _outcome(answer) == "ok":
            return answer
        time.sleep(0.1)
    require(condition=False, message=f"{VICTIM} is not used again after {_PATIENCE:.0f} s")
    raise AssertionError  # require has raised


def _outcome(answer: RecommendResponse) -> str:
    found: list[t.SourceStatus] = [s for s in answer.sources if s.source == VICTIM]
    return outcome(found[0]) if found else "absent"
