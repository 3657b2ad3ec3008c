"""What do several gateways with one journal cost, and when does one know what another took?

Real processes, no models: a gateway that is alone, and two that share a journal in a
Valkey of their own. RecordEvents over gRPC at fixed rates: latency as the caller sees it
and CPU-milliseconds an event, over all gateways and Valkey. Then one event at a time at
one gateway: from its acknowledgement until the other gateway answers with it.

python -m benchmarks.gateways [--json FILE] [--rates 50x1,500x1,2000x20]
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil

from benchmarks import events, machine
from benchmarks.command import above_0, count, count_or_0, ended, output, write
from benchmarks.event_load import Stream, send
from benchmarks.valkey import running_valkey
from cli.output import console, table
from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.event_service_pb2_grpc import EventServiceStub
from plait.v1.profile_service_pb2 import GetProfileRequest
from plait.v1.profile_service_pb2_grpc import ProfileServiceStub

_USERS, _ITEMS = 100_000, 20_000
ALONE, SHARED = "alone", "two, one journal"


@dataclass(frozen=True, slots=True)
class Side:
    """Gateways that know the same, and all processes that this takes."""

    addresses: Sequence[str]
    processes: Sequence[psutil.Process]

    def cpu_seconds(self) -> float:
        """What they have used so far."""
        return sum(map(events.cpu_seconds, self.processes))


def main() -> int:
    """Measure, print a table, write JSON where asked."""
    arguments = _arguments()

    def work() -> None:
        result = run(arguments)
        show(result)
        write(arguments.json, result)

    return ended(work)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run both sides, each round at every rate in turn; return the result."""
    rounds: list[dict[str, events.Figures]] = []
    delays: list[float] = []
    with tempfile.TemporaryDirectory(prefix="plait-gateways-") as name, ExitStack() as stack:
        sides = _sides(Path(name), arguments.stored, stack)
        for number in range(arguments.rounds):
            figures = {}
            for rate, (per_second, per_call) in arguments.rates.items():
                for side, running in sides.items():
                    stream = Stream(
                        per_second, per_call, _USERS, _ITEMS, seed=f"{number} {side} {rate}"
                    )
                    figures[f"{rate} {side}"] = _measure(running, stream, arguments.seconds)
            rounds.append(figures)
            delays += asyncio.run(_delays(sides[SHARED].addresses, arguments.probes, number))
    return {
        "question": "RecordEvents at fixed rates: one gateway, and two that share a journal",
        "machine": machine.describe(),
        "stored_events": arguments.stored,
        "seconds": arguments.seconds,
        "median": {key: events.median([r[key] for r in rounds]) for key in rounds[0]},
        "known_elsewhere_ms": {
            f"p{q}": events.quantile(delays, q / 100) for q in (50, 90, 99)
        } | {"events": len(delays)},
        "rounds": rounds,
    }  # fmt: skip


def _sides(work: Path, stored: int, stack: ExitStack) -> dict[str, Side]:
    for name in ("alone", "first", "second"):
        (work / name).mkdir()
        events.prepare(work / name, stored, 0)
    # The second copies the first's.
    (work / "second" / "state.sqlite").unlink()
    alone, _, process = stack.enter_context(events.gateway(work / "alone", {}))
    valkey = stack.enter_context(running_valkey(work / "valkey"))
    shared = {"JOURNAL": valkey.url}
    first, _, one = stack.enter_context(events.gateway(work / "first", shared))
    shared["PEERS"] = first
    second, _, other = stack.enter_context(events.gateway(work / "second", shared))
    return {
        ALONE: Side((alone,), (process,)),
        SHARED: Side((first, second), (one, other, psutil.Process(valkey.pid))),
    }


def _measure(side: Side, stream: Stream, seconds: float) -> events.Figures:
    before = side.cpu_seconds()
    seen = asyncio.run(send(side.addresses[0], stream, seconds))
    used = side.cpu_seconds() - before
    # The second that warms up costs CPU too.
    sent = max(seen.acknowledged * (seconds + 1) / seconds, 1.0)
    return events.figures(seen) | {"cpu_ms_per_event": 1000 * used / sent}


async def _delays(addresses: Sequence[str], probes: int, number: int) -> list[float]:
    """Return the seconds from each acknowledgement until the other gateway knows the event."""
    found = []
    with _channels(addresses) as (here, there):
        record, profile = EventServiceStub(here), ProfileServiceStub(there)
        for probe in range(probes):
            user = f"probe {number} {probe}"
            event = t.Event(user_id=user, item_id="4", type=t.EVENT_TYPE_VIEW, market="m")
            ask = GetProfileRequest(user_id=user)
            record.RecordEvents(RecordEventsRequest(events=[event]))
            began = time.perf_counter()
            asked = began
            while not profile.GetProfile(ask).profile.activity.event_count:
                asked = time.perf_counter()
            # It was known when the call that answers with it was made, or soon after.
            found.append(asked - began)
    return found


@contextmanager
def _channels(addresses: Sequence[str]) -> Iterator[Sequence[grpc.Channel]]:
    options = [("grpc.enable_http_proxy", 0)]
    with ExitStack() as stack:
        yield [
            stack.enter_context(grpc.insecure_channel(address, options=options))
            for address in addresses
        ]


def show(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    out, host, known = console(), result["machine"], result["known_elsewhere_ms"]
    out.print(result["question"])
    out.print(
        f"{host['cpu']}, {host['cores']} cores, load average {host['load_average'][0]}; "
        f"{result['stored_events']:,} events stored; median of {len(result['rounds'])} rounds of "
        f"{result['seconds']:.0f} s",
        style="dim",
    )  # fmt: skip
    made = table("Events/s x per call", ">p50 ms", ">p99 ms", ">not ok", ">CPU ms/event")
    for key, seen in result["median"].items():
        names = ("p50_ms", "p99_ms", "not_ok", "cpu_ms_per_event")
        digits = (2, 2, 0, 3)
        made.add_row(key, *(f"{seen[n]:.{d}f}" for n, d in zip(names, digits, strict=True)))
    out.print(made)
    out.print(
        f"Known to the other gateway after its acknowledgement, {known['events']} events: p50 "
        f"{known['p50']:.1f}, p90 {known['p90']:.1f}, p99 {known['p99']:.1f} ms",
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=output, metavar="FILE", help="write everything here as well")
    parser.add_argument("--rates", type=events.rates, default="50x1,500x1,2000x20",
                        help="events/s x per call")  # fmt: skip
    parser.add_argument("--seconds", type=above_0, default=5.0, help="measured per round and rate")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--probes", type=count, default=200, help="events followed, each round")
    parser.add_argument(
        "--stored", type=count_or_0, default=100_000, help="events already in the file"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
