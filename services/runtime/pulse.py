"""Whether the process serves, as its metrics tell it: ready, and its event loop turns.

A loop that stands still cannot say so itself, and the metrics, which have a thread of their
own, would go on with what it said last.
"""

import asyncio
import threading
import time
from collections.abc import Callable

# Seconds between two beats.
_EVERY = 1.0
# Seconds without a beat after which the loop stands still: no call waits for so long.
_LONGEST = 10.0


class Pulse:
    """Watches one event loop from a thread, from `start` to `stop`."""

    def __init__(self, tell: Callable[[bool], None]) -> None:
        """`tell` hears whether the process serves, from any thread."""
        self._tell = tell
        self._lock = threading.Lock()
        self._ready = False
        self._beat = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def say(self, ready: bool) -> None:
        """Note whether the process is ready."""
        with self._lock:
            self._ready = ready
            self._tell(ready)

    def start(self) -> None:
        """Watch the running loop."""
        self._beats()
        self._thread = threading.Thread(
            target=self._watch, args=(asyncio.get_running_loop(),), name="pulse", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; blocks for a moment."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _beats(self) -> None:
        self._beat = time.monotonic()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        turned = True
        while not self._stopping.wait(_EVERY):
            with self._lock:
                before, turned = turned, time.monotonic() - self._beat < _LONGEST
                if turned != before:
                    self._tell(self._ready and turned)
            try:
                loop.call_soon_threadsafe(self._beats)
            except RuntimeError:  # it has closed
                return
