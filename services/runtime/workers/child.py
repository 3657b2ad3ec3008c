"""One worker as its parent sees it: a process that is started again when it ends."""

import asyncio
import logging
import sys
from collections.abc import Mapping

from prometheus_client.multiprocess import mark_process_dead

from services.runtime import metrics
from services.runtime.workers.place import Place

_log = logging.getLogger(__name__)
# Pause before a start after a death; it doubles up to the longest, and is short again
# once a worker has stayed up for a while.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_CALM_SECONDS = 30.0


class Child:
    """The worker of one place."""

    def __init__(self, role: str, place: Place, environment: Mapping[str, str]) -> None:
        """`environment` is that of the process, its place excepted."""
        self._role = role
        self._place = place
        self._environment = {**environment, **place.variables}
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        # Times it has ended without being told to.
        self.deaths = 0
        # Exposed as 0: from nothing to 1 would be no increase to Prometheus.
        metrics.WORKER_RESTARTS.labels(role)

    @property
    def pid(self) -> int | None:
        """Return the process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    @property
    def serving(self) -> bool:
        """Does it take calls?"""
        return self._place.serving_file.exists()

    async def keep(self) -> None:
        """Run it, again and again, until told to stop; then return when it has ended."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = loop.time()
            code = await self._run()
            if self._stopping.is_set():
                return
            self.deaths += 1
            pause = _FIRST_PAUSE if loop.time() - began >= _CALM_SECONDS else pause
            metrics.WORKER_RESTARTS.labels(self._role).inc()
            _log.error(
                "a worker ended",
                extra={"number": self._place.number, "code": code, "starts_again_in": pause},
            )
            await _wait(self._stopping, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _run(self) -> int:
        """Run the command this process was started with, as a worker; return its exit code."""
        command = [sys.executable, *sys.orig_argv[1:]]
        try:
            self._process = await asyncio.create_subprocess_exec(*command, env=self._environment)
        except OSError as error:  # no memory or process to be had: a death like any other
            _log.error("a worker cannot be started", extra={"reason": error.strerror})
            return 1
        if self._stopping.is_set():
            self.terminate()
        code = await self._process.wait()
        place = self._place
        place.leave()
        mark_process_dead(place.number, str(place.directory))  # type: ignore[no-untyped-call]
        return code

    def terminate(self) -> None:
        """Have it drain and end, and not come back."""
        self._stopping.set()
        if self.pid is not None and self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        if self.pid is not None and self._process is not None:
            self._process.kill()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
