"""The one interceptor of every gRPC server here: errors to statuses, calls to metrics.

It wraps each unary handler once and keeps the result, so a call costs a
dictionary look-up; streaming methods (health Watch, reflection) pass untouched.
Requests are decoded inside, so that bytes that are no message are the caller's
error and are counted like any other.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError

from services.runtime import wire
from services.runtime.errors import InvalidArgument, PlaitError
from services.runtime.metrics import REQUEST_SECONDS

_log = logging.getLogger(__name__)
# Strings: grpc's own classes are generic to type checkers only.
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
# Status, message, trailing metadata.
_Refusal: TypeAlias = tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Maps PlaitError to its status, anything else to INTERNAL, and times each call."""

    def __init__(self) -> None:
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
        if handler is None or handler.unary_unary is None:
            return handler
        self._wrapped[method] = _wrap(method, handler)
        return self._wrapped[method]


def _wrap(method: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> _Handler:
    behaviour: Callable[[Any, _Context], Awaitable[Any]] = cast(Any, handler.unary_unary)
    decode = handler.request_deserializer
    seconds = {code.name: REQUEST_SECONDS.labels(method, code.name) for code in grpc.StatusCode}

    async def call(raw: bytes, context: _Context) -> Any:
        start = time.perf_counter()
        outcome = "OK"
        try:
            return await behaviour(decode_request(method, decode, raw), context)
        except PlaitError as error:
            refusal = error.status, error.message, error.trailing_metadata
            outcome = error.status.name
        except asyncio.CancelledError:
            outcome = "CANCELLED"
            raise
        except Exception:
            refusal = _unexpected(method)
            outcome = refusal[0].name
        finally:
            # Until the answer is handed to gRPC, whatever it is. When a status has been sent
            # is heard a turn of the loop after it left, an answer's sending not at all.
            seconds[outcome].observe(time.perf_counter() - start)
        # gRPC keeps what `abort` raises, and with it this frame, until the garbage
        # collector comes by: neither the request nor the error's own frames may be in it.
        raw = b""
        await context.abort(*refusal)

    return grpc.unary_unary_rpc_method_handler(
        call, request_deserializer=None, response_serializer=handler.response_serializer
    )


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


def _unexpected(method: str) -> _Refusal:
    """Tell the caller nothing but an id, and the log everything under that id."""
    error_id = secrets.token_hex(6)
    _log.exception("unexpected error", extra={"error_id": error_id, "method": method})
    return grpc.StatusCode.INTERNAL, f"internal error, logged as {error_id}", ()
