"""The event loop of every process here: uvloop, reading all that gRPC has rung for at once.

gRPC's own thread tells the loop of each completed operation with a byte through a
socket, and grpc.aio reads one byte in each turn, though it then handles all that is
complete (grpcio 1.75 to 1.85). Where a turn completes more than one operation bytes
are left over. Each costs a turn for nothing; and when the socket is full, after 278
of them on Linux, gRPC's thread stands still until three quarters are read: two hundred
turns in which no call comes in and no answer is heard (docs/decisions/0010).
"""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import uvloop
from grpc._cython import cygrpc

# More than the socket holds.
_ALL = 1 << 16


class Loop(uvloop.Loop):
    """uvloop's loop, but for gRPC's bell."""

    def add_reader(  # type: ignore[override]
        self, fd: Any, callback: Callable[..., Any], *arguments: Any
    ) -> None:
        """Call `callback` when there is something to read; see asyncio's loop."""
        if is_bell(fd, callback):
            callback = partial(_answer, fd, callback)
        super().add_reader(fd, callback, *arguments)


def is_bell(fd: Any, callback: Callable[..., Any]) -> bool:
    """Say whether this is the socket through which gRPC tells of completed operations."""
    owner = getattr(getattr(callback, "func", None), "__self__", None)
    return isinstance(fd, socket.socket) and isinstance(owner, cygrpc.PollerCompletionQueue)


def _answer(bell: socket.socket, callback: Callable[..., Any], *arguments: Any) -> None:
    """Read all but one of the bytes, which is the callback's, before it looks what is complete.

    In this order none is taken that stands for something not yet looked at.
    """
    rung = len(bell.recv(_ALL, socket.MSG_PEEK))
    if rung > 1:
        bell.recv(rung - 1)
    callback(*arguments)
