"""The standard gRPC health service: who is ready, and, apart from that, who is alive.

One status per model; "" for the process as a whole: all models ready, not
draining. `live` is SERVING from bind to stop: a process that loads, drains or had
a model unloaded must not be restarted for it.
"""

from collections.abc import Callable

from grpc_health.v1 import health

from services.runtime.health_service import HealthServicer

SERVICE = health.SERVICE_NAME
LIVE = "live"


class Health:
    """Who is ready. While the process drains, nothing becomes ready again."""

    def __init__(self, tell: Callable[[bool], None] = lambda _: None) -> None:
        """`tell` hears whether the process as a whole is ready, whenever that is set."""
        self._tell = tell
        self.servicer = HealthServicer()
        self._ready: dict[str, bool] = {}
        self._draining = False

    async def start(self) -> None:
        """Report the process alive and not ready."""
        self.servicer.set(LIVE, serving=True)
        await self.set("", ready=False)

    async def set(self, name: str, *, ready: bool) -> None:
        """Set the status of a model, or of the process where `name` is ""."""
        if self._draining:
            return
        self._ready[name] = ready
        self._say(name, serving=ready)

    def ready(self, name: str = "") -> bool:
        """Is this model, or the process, ready? Unknown names are not."""
        return not self._draining and self._ready.get(name, False)

    async def drain(self) -> None:
        """Set everything but `live` to NOT_SERVING, for good."""
        self._draining = True
        for name in self._ready:
            self._say(name, serving=False)

    def close(self) -> None:
        """End the streams of those who watch: what they were told last is final."""
        self.servicer.close()

    def _say(self, name: str, *, serving: bool) -> None:
        if not name:
            self._tell(serving)
        self.servicer.set(name, serving=serving)
