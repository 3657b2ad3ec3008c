"""A model service: the runtime around one source. Each service is a call of `main`.

sys.exit(main(Source("cf", ("cf",), open_cf), Config, sys.argv[1:], os.environ))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from inference import inference_pb2_grpc
from services.runtime.config import require
from services.runtime.health import Health
from services.runtime.hosting import Host, Limits
from services.runtime.inference_service import SERVICE, InferenceService
from services.runtime.process import release, run
from services.runtime.server import ServerConfig
from services.runtime.source import Source
from services.runtime.workers.group import Alone, Workers
from services.runtime.workers.place import Place, place_of


@dataclass(frozen=True)
class ServiceConfig(ServerConfig):
    """Settings of a model service; each service sets its own default ports."""

    # Processes that share the port (SO_REUSEPORT), each with the model in its memory. More
    # than one where one core is not enough for the model and a second server is too much:
    # each takes a batch of its own, so the same load makes smaller batches.
    workers: int = 1
    # Model repository: REPOSITORY/<source>/<version>/.
    repository: Path = Path("var/models")
    # Version to serve. Empty: at start what was served last, if callers chose it, else
    # the newest that is not refused. Pin it where only a deployment may decide.
    version: int | None = None
    # Versions loaded beside the pinned one, for a canary where only a deployment decides.
    beside: tuple[int, ...] = ()
    # Whether callers may load and unload versions. Off where only a deployment may
    # decide what serves: the protocol knows no callers' rights.
    model_control: bool = True
    # Versions loaded at once, the default included. A canary needs 2; each costs its
    # memory and a thread, and the two compete for the CPU.
    max_versions: int = 2
    # Rows computed together, and rows one call may bring. More is less CPU per row
    # and a longer wait for whoever comes next.
    max_batch_rows: int = 64
    # Calls that may wait; beyond it callers are refused at once (RESOURCE_EXHAUSTED),
    # which is worth more to them than an answer after their deadline.
    max_queue: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.version is None or self.version > 0, "version must be positive")
        require(
            not self.beside or self.version is not None,
            "beside goes with a pinned version: set version as well, to the one that is to answer "
            "everybody (PLAIT_<PROCESS>_VERSION=1), or leave beside empty",
        )
        require(
            self.version not in self.beside,
            f"beside names version {self.version}, which answers everybody (version): it is for "
            "others",
        )
        require(len(self.beside) < self.max_versions, "beside names max_versions or more")
        require(1 <= self.workers <= 64, "workers must be within 1 .. 64")
        require(1 <= self.max_versions <= 8, "max_versions must be within 1 .. 8")
        require(1 <= self.max_batch_rows <= 1024, "max_batch_rows must be within 1 .. 1024")
        require(1 <= self.max_queue <= 100_000, "max_queue must be within 1 .. 100000")


def limits(config: ServiceConfig) -> Limits:
    """Return the bounds that a configuration sets."""
    return Limits(
        config.max_batch_rows, config.max_queue, config.grace_seconds, config.max_versions
    )


class ModelService:
    """The application of a model service (see server.Application)."""

    def __init__(self, source: Source, config: ServiceConfig, place: Place | None = None) -> None:
        """`place`: that of a worker, who serves what the others do."""
        self._source = source
        self._workers = None if place is None else Workers(place)
        self._config = config
        self._host: Host | None = None

    def register(self, server: grpc.aio.Server, health: Health) -> Sequence[str]:
        """Add the inference servicer."""
        config = self._config
        group = self._workers or Alone()
        self._host = Host(self._source, config.repository, limits(config), health, group)
        servicer = InferenceService(
            self._host,
            health,
            identity=(f"plait-{self._source.name}", release()),
            model_control=config.model_control,
        )
        inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
        return [SERVICE]

    async def start(self) -> None:
        """Load what is to be served; raises ArtifactError."""
        if self._host is None:
            return
        await self._host.report()
        picture = None if self._workers is None else self._workers.current()
        if picture is None:
            await self._host.start(self._config.version, self._config.beside)
        else:
            await self._host.follow(picture)
        if self._workers is not None:
            await self._workers.join(self._host.picture, self._host.follow)

    async def stop(self) -> None:
        """End the engines."""
        if self._workers is not None:
            await self._workers.leave()
        if self._host is not None:
            await self._host.close()


def main(
    source: Source,
    config_class: type[ServiceConfig],
    argv: Sequence[str],
    environ: Mapping[str, str],
) -> int:
    """Run a model service until a signal; return the exit code."""
    return run(
        source.name,
        config_class,
        lambda config: ModelService(source, config, place_of(environ)),
        argv=argv,
        environ=environ,
        workers=lambda config: config.workers,
    )
