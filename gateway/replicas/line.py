"""Questions to one server over calls that stay open.

A call costs grpc.aio three times what a message of an open call does
(docs/decisions/0030). So an open call is kept and used again, for one question at a
time: a question that is given up, late or failed ends its call, and is over on the
server too, as it would be had it been a call of its own. Where an open call turns out to
have ended, as those of a server that stops, and where a server knows none, the question
is asked by a plain call.
"""

import asyncio
from typing import Any

import grpc

from inference import inference_pb2 as pb
from inference.inference_pb2_grpc import GRPCInferenceServiceStub
from services.runtime.tensors import TIMEOUT

# More questions than these at a time get a call of their own for each.
_MOST_IDLE = 8
_NO_METADATA = grpc.aio.Metadata()
# How a call says that it had ended, or its connection had, before the question came: it
# depends on the moment.
_ENDED = frozenset({
    grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
})  # fmt: skip


class Line:
    """The way to one server. Belongs to the event loop."""

    def __init__(self, channel: grpc.aio.Channel, *, open_calls: bool = True) -> None:
        """`open_calls` False: a call of its own for each question."""
        self._open_calls = open_calls
        self._stub: Any = GRPCInferenceServiceStub(channel)
        self._idle: list[Any] = []
        # Whether the server knows open calls, as far as is known.
        self._knows = True
        self._closing = False

    def close(self) -> None:
        """End open calls, those that carry a question when it is answered."""
        self._closing = True
        while self._idle:
            self._idle.pop().cancel()

    def renew(self) -> None:
        """Note that another server may be there by now."""
        self._knows = True

    async def infer(self, request: pb.ModelInferRequest, seconds: float) -> pb.ModelInferResponse:
        """Ask within `seconds`; raises grpc.aio.AioRpcError."""
        if not (self._open_calls and self._knows):
            return await self._plain(request, seconds)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        answer = await self._ask(request, seconds)
        if answer is None:
            # Nothing was answered and nothing has failed: the question may come again.
            return await self._plain(request, end - loop.time())
        return answer

    async def _plain(self, request: pb.ModelInferRequest, seconds: float) -> pb.ModelInferResponse:
        answer: pb.ModelInferResponse = await self._stub.ModelInfer(request, timeout=seconds)
        return answer

    async def _ask(
        self, request: pb.ModelInferRequest, seconds: float
    ) -> pb.ModelInferResponse | None:
        """Ask over an open call; None where the server ended it or has none to offer."""
        request.parameters[TIMEOUT].int64_param = max(1, int(seconds * 1e6))
        used, call = self._open()
        try:
            async with asyncio.timeout(seconds):
                await call.write(request)
                answer = await call.read()
        except TimeoutError:
            call.cancel()
            raise _failed(grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time") from None
        except asyncio.InvalidStateError:  # it had ended before
            return None
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                self._knows = False
                return None
            if used and error.code() in _ENDED:
                return None
            raise
        except BaseException:
            call.cancel()
            raise
        if answer is grpc.aio.EOF:
            return None
        if answer is None or answer.error_message:  # None: it was no message
            call.cancel()
            raise _failed(
                grpc.StatusCode.INTERNAL, answer.error_message if answer else "not readable"
            )
        if len(self._idle) < _MOST_IDLE and not self._closing:
            self._idle.append(call)
        else:
            call.cancel()
        response: pb.ModelInferResponse = answer.infer_response
        return response

    def _open(self) -> tuple[bool, Any]:
        """Return an open call, and whether it was used before."""
        while self._idle:
            call = self._idle.pop()
            if not call.done():
                return True, call
        return False, self._stub.ModelStreamInfer()


def _failed(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, _NO_METADATA, _NO_METADATA, details)
