"""One event loop beside the trial, for everything that sends.

One and not one each: grpc's asyncio channels share a queue in a process, and loops that
poll it side by side steal each other's wake-ups.
"""

import asyncio
import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="senders", daemon=True).start()
    return loop


def begin(work: Coroutine[Any, Any, T]) -> "Future[T]":
    """Run a coroutine there; the future holds what it returns."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


class Sending(ABC):
    """What is sent while a trial is inside: `with` begins it, and its end waits for the last."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self._sending = begin(self.send())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self._sending.result()

    @abstractmethod
    async def send(self) -> None:
        """Send until `over` is set, then end what is under way."""
