"""From a command line to an exit code: what `python -m services.cf` does.

Exit 0 after SIGTERM or Ctrl-C, 1 where the start fails (one log line says why),
2 for a wrong command line.
"""

import asyncio
import contextlib
import importlib.metadata
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from artifacts.errors import ArtifactError
from services.runtime import allocator, garbage, logs
from services.runtime import config as configuration
from services.runtime.errors import StartError
from services.runtime.leash import die_with_parent
from services.runtime.loop import Loop
from services.runtime.metrics import BUILD_INFO
from services.runtime.server import Application, Server, ServerConfig
from services.runtime.workers.parent import supervise
from services.runtime.workers.place import place_of

C = TypeVar("C", bound=ServerConfig)
_log = logging.getLogger(__name__)


def run(
    role: str,
    config_class: type[C],
    build: Callable[[C], Application],
    *,
    argv: Sequence[str],
    environ: Mapping[str, str],
    workers: Callable[[C], int] = lambda _config: 1,
) -> int:
    """Configure, serve until a signal, and return the exit code.

    `role` is the section of the configuration and the `role` of logs and metrics;
    `workers` says how many processes are to share the port.
    """
    if argv:
        sys.stderr.write(
            f"usage: no arguments; set PLAIT_{role.upper()}_<SETTING> or the [{role}] table of the "
            f"file PLAIT_CONFIG names: {', '.join(config_class.__dataclass_fields__)}\n"
        )
        return 0 if argv[0] in {"-h", "--help"} else 2
    place = place_of(environ)
    number = None if place is None else place.number
    logs.configure(role, "info", number)
    try:
        config = configuration.load(config_class, role, environ)
        logs.configure(role, config.log_level, number)
        _log.info("starting", extra={"config": configuration.describe(config)})
        BUILD_INFO.labels(role, release()).set(1)
        if config.die_with_parent:
            die_with_parent()
        allocator.give_large_back(environ)
        if workers(config) > 1:
            _run(supervise(role, config, workers(config), environ))
        else:
            _run(serve(Server(config, build(config), place)))
    except (configuration.ConfigError, StartError, ArtifactError) as error:
        _log.critical("cannot start: %s", error)
        return 1
    except Exception:
        _log.critical("failed unexpectedly", exc_info=True)
        return 1
    _log.info("stopped")
    return 0


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run on the quickest event loop there is (docs/decisions/0004)."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(work)


async def serve(server: Server) -> None:
    """Start, wait for SIGTERM or SIGINT (also while loading), drain, return.

    Later signals change nothing: a terminal's Ctrl-C reaches a supervised process
    twice, and the second must not cut calls short.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    starting = asyncio.create_task(server.start())
    waiting = asyncio.create_task(stopped.wait())
    cleaning = asyncio.create_task(garbage.look_after())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            garbage.settle()
            await waiting
        _log.info("draining")
    finally:
        for task in (starting, waiting, cleaning):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        await server.stop()


def release() -> str:
    """Return the installed version of Plait."""
    try:
        return importlib.metadata.version("plait")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
