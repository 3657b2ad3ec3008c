"""How many calls does a server answer in time whose event loop is busy?

A server of one method that does nothing, on a loop whose every turn is full of work
for some milliseconds, as a gateway's under load, and a client in a process of its
own that asks by the clock and waits half a second. Compared: grpc.aio on uvloop; the
same, reading gRPC's bell to the end (services/runtime/loop.py); the same, taking in
calls ahead too (services/runtime/accepting.py), which is what Plait's servers do.
Then what a call costs of CPU, both ends in one process whose loop does nothing else,
64 calls at once: the least of five rounds in turn, as a part of grpc.aio's.

python -m benchmarks.busy_loop [--turn-ms 4] [--rate 100] [--seconds 10]
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc

from benchmarks.command import above_0, ended
from benchmarks.open_loop import open_loop, poisson, quantile
from cli.output import console, table
from services.runtime import accepting
from services.runtime.loop import Loop

_PATIENCE = 0.5
_AT_ONCE, _BURSTS, _ROUNDS = 64, 30, 5
_WAYS: dict[str, tuple[Callable[[], asyncio.AbstractEventLoop], bool]] = {
    "grpc.aio": (uvloop.new_event_loop, False),
    "bell": (Loop, False),
    "bell and ahead": (Loop, True),
}


class _Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 -- gRPC names it
        """Answer."""
        del request, context
        return pb.HealthCheckResponse()


async def _serve(ahead: bool, turn: float) -> None:
    server = accepting.server((), ()) if ahead else grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(_Health(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    while True:
        until = time.perf_counter() + turn
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)


async def _ask(port: str, rate: float, seconds: float) -> str:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        await check(pb.HealthCheckRequest(), wait_for_ready=True)

        async def call(_: int) -> str:
            try:
                await check(pb.HealthCheckRequest(), timeout=_PATIENCE)
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
            return "ok"

        shots = await open_loop(call, poisson(rate, seconds, 0))
    good = [shot for shot in shots if shot.outcome == "ok"]
    return " ".join(
        f"{number:.0f}"
        for number in (
            100 * len(good) / len(shots),
            1000 * quantile(good, 0.5),
            1000 * quantile(good, 0.99),
        )
    )


async def _spend(ahead: bool) -> float:
    """Return the CPU-seconds of a call, both ends."""
    server = accepting.server((), ()) if ahead else grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(_Health(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        began = 0.0
        for number in range(_BURSTS + 1):
            await asyncio.gather(*(check(pb.HealthCheckRequest()) for _ in range(_AT_ONCE)))
            if number == 0:  # the first warms up
                began = time.process_time()
        spent = time.process_time() - began
    await server.stop(None)
    return spent / (_BURSTS * _AT_ONCE)


def _costs() -> dict[str, float]:
    """Return the least CPU-seconds of a call, way by way."""
    this = [sys.executable, "-m", "benchmarks.busy_loop", "--spend"]
    least = dict.fromkeys(_WAYS, float("inf"))
    for _ in range(_ROUNDS):
        for way in _WAYS:
            least[way] = min(least[way], float(subprocess.check_output([*this, way], text=True)))
    return least


def _measure(way: str, arguments: argparse.Namespace) -> list[str]:
    this = [sys.executable, "-m", "benchmarks.busy_loop"]
    serving = [*this, "--serve", way, "--turn-ms", str(arguments.turn_ms)]
    with subprocess.Popen(serving, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().strip() if server.stdout else ""
            asking = [*this, "--ask", port, "--rate", str(arguments.rate),
                      "--seconds", str(arguments.seconds)]  # fmt: skip
            return subprocess.check_output(asking, text=True).split()
        finally:
            server.kill()


def main() -> int:
    """Run as `python -m benchmarks.busy_loop`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--turn-ms", type=above_0, default=4.0)
    parser.add_argument("--rate", type=above_0, default=100.0)
    parser.add_argument("--seconds", type=above_0, default=10.0)
    parser.add_argument("--serve", choices=list(_WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    parser.add_argument("--spend", choices=list(_WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        make, ahead = _WAYS[arguments.serve]
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(_serve(ahead, arguments.turn_ms / 1000))
    elif arguments.spend is not None:
        make, ahead = _WAYS[arguments.spend]
        with asyncio.Runner(loop_factory=make) as runner:
            print(runner.run(_spend(ahead)))
    elif arguments.ask is not None:
        print(uvloop.run(_ask(arguments.ask, arguments.rate, arguments.seconds)))
    else:
        return ended(lambda: _compare(arguments))
    return 0


def _compare(arguments: argparse.Namespace) -> None:
    shown = table("Server", ">In time %", ">p50 ms", ">p99 ms", ">CPU a call")
    costs = _costs()
    for way in _WAYS:
        cost = f"{costs[way] / costs['grpc.aio']:.2f}"
        shown.add_row(way, *_measure(way, arguments), cost)
    console().print(shown)


if __name__ == "__main__":
    sys.exit(main())
