"""Models and gateway are killed; answers keep coming and nothing acknowledged is lost."""

import grpc
import pytest

from cli.failures import UserError
from cli.topology import SOURCES
from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import RecommendResponse
from tests.e2e.conftest import Ground, Processes


def outcome(answer: RecommendResponse, source: str) -> int:
    return next(s.outcome for s in answer.sources if s.source == source)


@pytest.mark.parametrize("victim", ["cf", "sequence"])
def test_without_a_model_the_answer_is_partial_and_it_comes_back_by_itself(
    five: Processes, ground: Ground, victim: str
) -> None:
    user = ground.cast.household
    assert outcome(five.home(user), victim) == t.SOURCE_OUTCOME_OK
    five.fleet.kill(victim)
    answer = five.home(user)
    assert len(answer.items) == 20
    assert answer.coverage.partial
    assert not answer.coverage.fallback
    assert outcome(answer, victim) not in (t.SOURCE_OUTCOME_OK, t.SOURCE_OUTCOME_SKIPPED)
    assert five.until(lambda: outcome(five.home(user), victim) == t.SOURCE_OUTCOME_OK)


def test_without_any_model_trends_answer(five: Processes, ground: Ground) -> None:
    user = ground.cast.household
    for name in SOURCES:
        five.fleet.kill(name)
    answer = five.home(user)
    assert len(answer.items) == 20
    assert answer.coverage.fallback
    assert answer.coverage.answered == 0
    assert five.until(
        lambda: all(
            outcome(five.home(user), s) == t.SOURCE_OUTCOME_OK
            for s in ("cf", "content", "sequence")
        )
    )
    assert all(five.fleet.wait_healthy(name, 30.0) for name in SOURCES)


def test_an_acknowledged_event_survives_the_death_of_the_gateway(
    five: Processes, ground: Ground
) -> None:
    event = t.Event(
        event_id="survivor-1",
        user_id="survivor",
        item_id=ground.cast.purchase.item_id,
        type=t.EVENT_TYPE_PURCHASE,
    )
    request = RecordEventsRequest(events=[event])
    assert five.gateway.call(five.gateway.events.RecordEvents, request).recorded_count == 1
    before = five.fleet.kill("gateway")
    assert five.until(lambda: five.fleet.pid("gateway") != before)
    assert five.fleet.wait_healthy("gateway", 30.0)
    assert five.until(lambda: _answers(five))
    again = five.gateway.call(five.gateway.events.RecordEvents, request)
    assert (again.recorded_count, again.duplicate_count) == (0, 1)
    assert not five.home("survivor").coverage.fallback


def _answers(five: Processes) -> bool:
    try:
        return bool(five.home("anybody").items)
    except (UserError, grpc.RpcError):
        return False
