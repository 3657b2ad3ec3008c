"""The one interceptor of every gRPC server here: errors to statuses, calls to metrics.

It wraps each handler once and keeps the result, so a call costs a dictionary look-up.
Of streaming methods only those are wrapped that answer each message with one: each is
counted and timed as a call would be, and a call that stays open holds up no stop. The
others (health Watch, copies of the state) pass untouched. Requests are decoded inside,
so that bytes that are no message are the caller's error and are counted like any other.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError

from services.runtime import wire
from services.runtime.errors import InvalidArgument, as_told
from services.runtime.metrics import REQUEST_SECONDS
from services.runtime.streams import Streams

# Strings: grpc's own classes are generic to type checkers only.
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
# Status, message, trailing metadata.
_Refusal: TypeAlias = tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]
# Seconds before a deadline in which its end is heard of: the caller's clock has begun earlier.
_NEARLY = 0.02
# Streaming methods that answer each message with one.
_PAIRED = frozenset(
    {
        "/inference.GRPCInferenceService/ModelStreamInfer",
        # Of tools with a window it is open as long as the window is.
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    }
)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Maps PlaitError to its status, anything else to INTERNAL, and times each call."""

    def __init__(self, streams: Streams) -> None:
        """`streams` ends the open calls when the server stops."""
        self._streams = streams
        self._wrapped: dict[str, _Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Return the wrapped handler of a method; None where there is no such method."""
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        # An unknown method is not kept: callers could fill the memory with names.
        if handler is None:
            return None
        if handler.unary_unary is not None:
            self._wrapped[method] = _wrap(method, handler)
        elif method in _PAIRED:
            self._wrapped[method] = _wrap_stream(method, handler, self._streams)
        return self._wrapped.get(method, handler)


def _wrap(method: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> _Handler:
    behaviour: Callable[[Any, _Context], Awaitable[Any]] = cast(Any, handler.unary_unary)
    decode = handler.request_deserializer
    seconds = _seconds(method)

    async def call(raw: bytes, context: _Context) -> Any:
        start = time.perf_counter()
        outcome = "OK"
        try:
            return await behaviour(decode_request(method, decode, raw), context)
        except asyncio.CancelledError:
            outcome = "DEADLINE_EXCEEDED" if _over(context) else "CANCELLED"
            raise
        except Exception as error:
            refusal = _refusal(method, error)
            outcome = refusal[0].name
        finally:
            # Until the answer is handed to gRPC, whatever it is. When a status has been sent
            # is heard a turn of the loop after it left, an answer's sending not at all.
            seconds[outcome].observe(time.perf_counter() - start)
        # gRPC keeps what `abort` raises, and with it this frame, until the garbage
        # collector comes by: neither the request nor the error's own frames may be in it.
        raw = b""
        return await context.abort(*refusal)

    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=None, response_serializer=handler.response_serializer
    )


def _over(context: _Context) -> bool:
    """Say whether a call was ended by its deadline, as its caller hears, and not by its caller."""
    left: float | None = context.time_remaining()
    return left is not None and left < _NEARLY


def _wrap_stream(
    method: str, handler: "grpc.RpcMethodHandler[Any, Any]", streams: Streams
) -> _Handler:
    behaviour: Callable[[AsyncIterator[Any], _Context], AsyncIterator[Any]]
    behaviour = cast(Any, handler.stream_stream)
    decode = handler.request_deserializer
    seconds = _seconds(method)

    async def call(received: AsyncIterator[bytes], context: _Context) -> AsyncIterator[Any]:
        start = 0.0

        async def requests() -> AsyncIterator[Any]:
            nonlocal start
            async for raw in streams.messages(received):
                start = time.perf_counter()
                yield decode_request(method, decode, raw)
                start = 0.0

        def note(outcome: str) -> None:
            if start:  # else nobody waits for anything
                seconds[outcome].observe(time.perf_counter() - start)

        try:
            async for response in behaviour(requests(), context):
                note("OK")
                yield response
        except asyncio.CancelledError:
            note("CANCELLED")
            raise
        except Exception as error:
            refusal = _refusal(method, error)
            note(refusal[0].name)
        else:
            return
        await context.abort(*refusal)

    return grpc.stream_stream_rpc_method_handler(
        call, request_deserializer=None, response_serializer=handler.response_serializer
    )


def _seconds(method: str) -> dict[str, Any]:
    """Look the metric's children up once, by status."""
    return {code.name: REQUEST_SECONDS.labels(method, code.name) for code in grpc.StatusCode}


def decode_request(method: str, decode: Callable[[bytes], Any] | None, raw: bytes) -> Any:
    """Decode a request; raises InvalidArgument naming what is wrong."""
    try:
        return raw if decode is None else decode(raw)
    except DecodeError:
        message = wire.request_type(method)
        field = None if message is None else wire.bad_text(message, raw)
        if field is not None:
            raise InvalidArgument(field, "not UTF-8") from None
        raise InvalidArgument("request", "not a message of this method's type") from None


def _refusal(method: str, error: Exception) -> _Refusal:
    told = as_told(error, method)
    return told.status, told.message, told.trailing_metadata
