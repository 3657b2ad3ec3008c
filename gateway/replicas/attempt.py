"""One call to one replica, and what it tells about it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc

from gateway.replicas.breaker import Verdict
from gateway.replicas.quantile import Quantile
from gateway.replicas.replica import Replica
from gateway.replicas.verdict import judge
from inference import inference_pb2 as pb

T = TypeVar("T")
_PUSHBACK = "grpc-retry-pushback-ms"
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """What is asked of whichever replica."""

    request: pb.ModelInferRequest
    rows: int
    # Makes of an answer what is wanted; raises where it is not usable.
    read: Callable[[pb.ModelInferResponse], T]
    # What answers usually take; None where this call is of another kind than most.
    usual: Quantile | None
    # Whether failures count against the replica.
    counted: bool
    # Whether its end says how the replica answers shoppers, so that its breaker counts it.
    tells: bool


class Attempt(Generic[T]):
    """A call to one replica; it counts as begun from here on, so run it."""

    def __init__(self, replica: Replica, call: Call[T]) -> None:
        self.replica = replica
        self._call = call
        self._entry = replica.breaker.enter(tells=call.tells)
        self._began = time.perf_counter()
        replica.rows += call.rows

    async def run(self, seconds: float) -> T:
        """Return what was read; raises grpc.aio.AioRpcError and what reading raises."""
        replica, call = self.replica, self._call
        try:
            value = call.read(await replica.infer(call.request, seconds))
        except BaseException as error:
            self._failed(error, seconds)
            raise
        finally:
            replica.rows -= call.rows
        self._entry.settle(Verdict.GOOD)
        self._took()
        return value

    def outrun(self) -> None:
        """Note that another replica, asked later, answered first.

        It is about to be cancelled, so this is all that will be known of it; a
        replica that is outrun every time is not doing its part.
        """
        self._settle(Verdict.BAD)
        # Left out, the slowest would be missing from the quantile and it would sink.
        self._took()

    def _failed(self, error: BaseException, seconds: float) -> None:
        usual = None if self._call.usual is None else self._call.usual.value
        spent = time.perf_counter() - self._began
        self._settle(judge(error, allowed=seconds, spent=spent, usual=usual))
        if isinstance(error, grpc.aio.AioRpcError):
            self._heed(error)

    def _settle(self, verdict: Verdict) -> None:
        self._entry.settle(verdict if self._call.counted else Verdict.UNTOLD)

    def _took(self) -> None:
        if self._call.usual is not None:
            seconds = time.perf_counter() - self._began
            self._call.usual.observe(seconds)
            self.replica.pace.observe(seconds)

    def _heed(self, error: grpc.aio.AioRpcError) -> None:
        """Leave a replica alone for as long as it asks."""
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            return
        for key, value in error.trailing_metadata() or ():
            if key == _PUSHBACK and str(value).isdecimal():
                self.replica.pause(min(int(value) / 1000, _LONGEST_PAUSE))
