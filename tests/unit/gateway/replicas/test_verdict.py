"""A breaker hears only what a server is to blame for."""

import asyncio

import grpc
import pytest

from gateway.replicas.breaker import Verdict
from gateway.replicas.verdict import judge, worth_another
from services.runtime.tensors import TensorError

Code = grpc.StatusCode
BAD, UNTOLD = Verdict.BAD, Verdict.UNTOLD


def failed(code: Code) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


def verdict(
    error: BaseException, allowed: float = 0.2, spent: float = 0.0, usual: float | None = 0.005
) -> Verdict:
    return judge(error, allowed=allowed, spent=spent, usual=usual)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code.UNAVAILABLE, BAD),
        (Code.INTERNAL, BAD),
        (Code.UNKNOWN, BAD),
        (Code.CANCELLED, BAD),
        (Code.UNIMPLEMENTED, BAD),
        (Code.NOT_FOUND, BAD),
        (Code.DATA_LOSS, BAD),
        (Code.INVALID_ARGUMENT, UNTOLD),
        (Code.OUT_OF_RANGE, UNTOLD),
        (Code.FAILED_PRECONDITION, UNTOLD),
        (Code.RESOURCE_EXHAUSTED, UNTOLD),
    ],
)
def test_a_status_is_the_servers_fault_or_the_callers(code: Code, expected: Verdict) -> None:
    assert verdict(failed(code)) is expected


@pytest.mark.parametrize(
    ("allowed", "usual", "expected"),
    [
        (0.2, 0.005, BAD),
        (0.006, 0.005, BAD),
        (0.004, 0.005, UNTOLD),
        (0.2, None, BAD),
        (0.01, None, UNTOLD),
    ],
)
def test_a_missed_deadline_counts_where_it_was_fair(
    allowed: float, usual: float | None, expected: Verdict
) -> None:
    late = failed(Code.DEADLINE_EXCEEDED)
    assert verdict(late, allowed, spent=allowed, usual=usual) is expected
    # The callers may give up an instant before the call's own deadline.
    assert verdict(asyncio.CancelledError(), allowed, 0.99 * allowed, usual) is expected


def test_a_call_given_up_early_says_nothing() -> None:
    assert verdict(asyncio.CancelledError(), allowed=0.2, spent=0.1) is UNTOLD


def test_an_answer_that_is_not_usable_counts() -> None:
    assert verdict(TensorError("scores: missing")) is BAD


def test_another_replica_is_worth_asking_unless_the_fault_or_the_time_comes_along() -> None:
    for code in (Code.UNAVAILABLE, Code.INTERNAL, Code.RESOURCE_EXHAUSTED):
        assert worth_another(failed(code))
    for code in (Code.INVALID_ARGUMENT, Code.DEADLINE_EXCEEDED):
        assert not worth_another(failed(code))
    assert worth_another(TensorError("scores: missing"))
    assert not worth_another(asyncio.CancelledError())
