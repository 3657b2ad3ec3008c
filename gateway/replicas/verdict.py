"""What the end of a call says about the server: well, unwell, or nothing.

A breaker that trips on its caller's mistakes takes a healthy server away from
everybody, so only what the server is to blame for counts:

- a request that is wrong (INVALID_ARGUMENT and the like) says nothing;
- a refusal for load (RESOURCE_EXHAUSTED) says nothing: the server protects itself,
  and to stop asking altogether would turn a part of its calls into all of them;
- a missed deadline counts only where the time allowed was fair: at least what the
  source's answers usually take (their p95). A caller that allows 2 ms to a model
  that takes 5 learns nothing about the model. As p95 is taken over answers alone,
  a source that has become too slow for everyone does not excuse itself;
- a call given up by its callers counts as missed if its time was as good as over,
  else says nothing.
"""

import asyncio

import grpc

from gateway.replicas.breaker import Verdict

# Before a source's usual time is known, a deadline of so many seconds is fair.
_FAIR_SECONDS = 0.05
# The caller's own clock may run out a little before the call's.
_AS_GOOD_AS_OVER = 0.9
_CALLERS_FAULT = frozenset({
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
})  # fmt: skip


def judge(error: BaseException, *, allowed: float, spent: float, usual: float | None) -> Verdict:
    """Judge a failed call; all times in seconds, `usual` None while unknown."""
    fair = allowed >= (_FAIR_SECONDS if usual is None else usual)
    missed = Verdict.BAD if fair else Verdict.UNTOLD
    if isinstance(error, asyncio.CancelledError):
        return missed if spent >= _AS_GOOD_AS_OVER * allowed else Verdict.UNTOLD
    if not isinstance(error, grpc.aio.AioRpcError):
        return Verdict.BAD  # the answer could not be read
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return missed
    return Verdict.UNTOLD if error.code() in _CALLERS_FAULT else Verdict.BAD


def worth_another(error: BaseException) -> bool:
    """Say whether another replica may do better, and at once."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return isinstance(error, Exception)
    # A refusal for load is this replica's alone; the rest of the faults come along.
    fault = _CALLERS_FAULT - {grpc.StatusCode.RESOURCE_EXHAUSTED}
    return error.code() not in fault | {grpc.StatusCode.DEADLINE_EXCEEDED}
