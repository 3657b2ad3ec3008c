"""One event loop beside the trial, for everything that sends.

One and not one each: grpc's asyncio channels share a queue in a process, and loops that
poll it side by side steal each other's wake-ups.
"""

import asyncio
import functools
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="senders", daemon=True).start()
    return loop


def begin(work: Coroutine[Any, Any, T]) -> "Future[T]":
    """Run a coroutine there; the future holds what it returns."""
    return asyncio.run_coroutine_threadsafe(work, _loop())
