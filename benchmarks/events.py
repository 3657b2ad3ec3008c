"""What does it cost to make an event durable, and how long does the call take?

The real gateway process, no models, a state file that already holds many events;
RecordEvents over gRPC at a list of fixed rates, from a trickle to 2,000 events a
second, one event a call and many. Latency (p50, p99) as the caller sees it, the
time of a commit from the gateway's own metrics, CPU-milliseconds per event in
the gateway, and beside them what the disk itself takes for a sync.

python -m benchmarks.events [--json FILE] [--rates 50x1,500x1,2000x20] [--sync-ms 100,0]
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from artifacts import layout
from artifacts.fusion import FusionArtifact, save
from benchmarks import machine
from benchmarks.command import above_0, count, count_or_0, ended, folder, output, write
from benchmarks.event_load import Seen, Stream, send
from cli.failures import UserError
from cli.output import console, table
from cli.scrape import scrape
from gateway.seed import EventBatch, seed
from gateway.types import Item
from plait.v1.manifest_pb2 import Manifest

_ITEMS, _USERS = 20_000, 100_000
Figures = dict[str, Any]


def main() -> int:
    """Measure, print a table, write JSON where asked."""
    arguments = _arguments()

    def work() -> None:
        result = run(arguments)
        show(result)
        write(arguments.json, result)

    return ended(work)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make a shop, then in each round run every mode at every rate; return the result."""
    rounds: list[dict[str, Figures]] = []
    if arguments.directory is not None:
        arguments.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="plait-events-", dir=arguments.directory) as name:
        work = Path(name)
        prepare(work, arguments.stored, arguments.seed)
        for number in range(arguments.rounds):
            figures: dict[str, Figures] = {"disk": disk(work)}
            for mode in arguments.sync_ms:
                settings = {"EVENT_SYNC_MS": str(mode)}
                with gateway(work, settings) as (address, metrics, process):
                    for rate, (per_second, per_call) in arguments.rates.items():
                        stream = Stream(
                            per_second, per_call, _USERS, _ITEMS,
                            seed=f"{arguments.seed} {number} {mode} {rate}",
                        )  # fmt: skip
                        figures[f"{rate} sync_ms={mode}"] = _measure(
                            address, metrics, process, stream, arguments.seconds
                        )
            rounds.append(figures)
    return {
        "question": "RecordEvents at fixed rates, one gateway process, no models",
        "machine": machine.describe(),
        "stored_events": arguments.stored,
        "seconds": arguments.seconds,
        "seed": arguments.seed,
        "median": {key: median([r[key] for r in rounds]) for key in rounds[0]},
        "rounds": rounds,
    }


def prepare(work: Path, stored: int, seed_number: int) -> None:
    """Write a fusion artifact and a state file with items and events."""
    keys = np.arange(1, _ITEMS, dtype=np.int64)
    fusion = FusionArtifact(
        item_keys=keys,
        vectors=np.zeros((len(keys), 1), np.float32),
        popularity=np.zeros(len(keys), np.float32),
        domain_names=("ALL",),
        domain_transition=np.zeros((1, 1), np.float32),
        domain_prior=np.ones(1, np.float32),
        weights={"HOME": {"cf": 1.0}},
        quantiles={},
    )
    with layout.publish(work / "models", "fusion") as (directory, version):
        save(directory, fusion, Manifest(version=version))
    drawn = random.Random(seed_number)  # noqa: S311 -- not for secrets
    now = int(time.time() * 1000)
    batch = EventBatch(
        user_ids=sorted(f"user{drawn.randrange(_USERS)}" for _ in range(stored)),
        item_keys=[drawn.randrange(1, _ITEMS) for _ in range(stored)],
        types=["view"] * stored,
        times_ms=[now - drawn.randrange(10**9) for _ in range(stored)],
        quantities=[1.0] * stored,
        prices=[None] * stored,
        markets=["m"] * stored,
        queries=[None] * stored,
    )
    items = (Item(str(k), int(k), title=f"Item {k}", domain="ALL") for k in keys)
    seed(work / "state.sqlite", items, [batch])


def disk(work: Path, times: int = 50) -> Figures:
    """Time what no store can do without to survive a power cut: write 4 kB and sync."""
    path, seconds = work / "disk", []
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.write(handle, bytes(4096 * times))
        os.fsync(handle)
        os.lseek(handle, 0, os.SEEK_SET)
        for _ in range(times):
            time.sleep(0.005)
            began = time.perf_counter()
            os.write(handle, bytes(4096))
            os.fsync(handle)
            seconds.append(time.perf_counter() - began)
    finally:
        os.close(handle)
        path.unlink()
    return {"p50_ms": quantile(seconds, 0.5), "p99_ms": quantile(seconds, 0.99)}


@contextmanager
def gateway(work: Path, settings: Mapping[str, str]) -> Iterator[tuple[str, int, psutil.Process]]:
    """Run `python -m gateway`; yields its address, metrics port and process."""
    usual = {
        "PORT": 0, "METRICS_PORT": 0, "REPOSITORY": work / "models", "EXPOSURE_LOG": "",
        "STATE": work / "state.sqlite", "SOURCES": "cf=127.0.0.1:9", "ITEM_ENCODERS": "",
        "CONTACT_MS": 0, "DRAIN_SECONDS": 0, "DIE_WITH_PARENT": "true",
    }  # fmt: skip
    values = {**usual, **settings}
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PLAIT_")}
    log = work / "gateway.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"],
            env={**plain, **{f"PLAIT_GATEWAY_{k}": str(v) for k, v in values.items()}},
            stderr=output,
        )
    try:
        serving = _serving(process, log)
        port = int(serving["metrics"].removesuffix("/metrics").rsplit(":", 1)[1])
        yield serving["address"], port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _serving(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, str]:
    while process.poll() is None:
        for line in log.read_text().splitlines():
            if '"serving"' in line:
                found: dict[str, str] = json.loads(line)
                return found
        time.sleep(0.05)
    raise UserError(f"the gateway did not start: {log.read_text()[-500:]}")


def _measure(
    address: str, metrics: int, process: psutil.Process, stream: Stream, seconds: float
) -> Figures:
    before, cpu = scrape("127.0.0.1", metrics), cpu_seconds(process)
    seen = asyncio.run(send(address, stream, seconds))
    cpu = cpu_seconds(process) - cpu
    after = scrape("127.0.0.1", metrics)
    commits = after.histogram("plait_event_commit_seconds").minus(
        before.histogram("plait_event_commit_seconds")
    )
    # The warm-up second of the stream costs CPU and commits too.
    sent = after.sum("plait_events_total") - before.sum("plait_events_total")
    return figures(seen) | {
        "commit_p50_ms": 1000 * (commits.quantile(0.5) or 0.0),
        "commit_p99_ms": 1000 * (commits.quantile(0.99) or 0.0),
        "events_per_commit": sent / max(commits.count, 1.0),
        "cpu_ms_per_event": 1000 * cpu / max(sent, 1.0),
    }


def figures(seen: Seen) -> Figures:
    """Turn what the client saw into the reported figures; raises UserError for nothing."""
    if not seen.latencies:
        raise UserError("no call was answered in the measured time")
    return {
        "events_per_second": seen.acknowledged / seen.seconds,
        "p50_ms": quantile(seen.latencies, 0.5),
        "p99_ms": quantile(seen.latencies, 0.99),
        "max_ms": 1000 * max(seen.latencies),
        "client_late_p99_ms": quantile(seen.late, 0.99),
        "not_ok": sum(seen.outcomes.values()) - seen.outcomes["OK"],
    }


def quantile(seconds: list[float], q: float) -> float:
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def median(values: list[Figures]) -> Figures:
    return {key: statistics.median(v[key] for v in values) for key in values[0]}


def cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def show(result: dict[str, Any]) -> None:
    """Print the figures as a table."""
    out, host, bare = console(), result["machine"], result["median"]["disk"]
    out.print(result["question"])
    out.print(
        f"{host['cpu']}, {host['cores']} cores, load average {host['load_average'][0]}; "
        f"{result['stored_events']:,} events stored; median of {len(result['rounds'])} rounds of "
        f"{result['seconds']:.0f} s; the disk alone, 4 kB and a sync: "
        f"p50 {bare['p50_ms']:.1f} ms, p99 {bare['p99_ms']:.1f} ms",
        style="dim",
    )  # fmt: skip
    columns = (">events/s", ">p50 ms", ">p99 ms", ">client late", ">not ok", ">commit p50", ">p99")
    made = table("Events/s x per call", *columns, ">CPU ms/event")
    for key, seen in result["median"].items():
        if key != "disk":
            names = ("events_per_second", "p50_ms", "p99_ms", "client_late_p99_ms", "not_ok",
                     "commit_p50_ms", "commit_p99_ms", "cpu_ms_per_event")  # fmt: skip
            digits = (0, 2, 2, 2, 0, 2, 2, 3)
            made.add_row(key, *(f"{seen[n]:.{d}f}" for n, d in zip(names, digits, strict=True)))
    out.print(made)


def rates(text: str) -> dict[str, tuple[int, int]]:
    """Read "500x1,2000x20", for argparse: events a second, and in each call, by what was said."""
    found: dict[str, tuple[int, int]] = {}
    for rate in text.split(","):
        per_second, _, per_call = rate.partition("x")
        try:
            found[rate] = count(per_second), count(per_call)
        except argparse.ArgumentTypeError:
            raise argparse.ArgumentTypeError(
                f"'{rate}' is no rate; 500x1 is 500 events a second, one in each call"
            ) from None
    return found


def _whole(text: str) -> list[int]:
    return [count_or_0(n) for n in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=output, metavar="FILE", help="write everything here as well")
    parser.add_argument("--rates", type=rates, default="50x1,500x1,2000x10,2000x50",
                        help="events/s x per call")  # fmt: skip
    parser.add_argument("--sync-ms", type=_whole, default="100,0",
                        help="values of event_sync_ms; 0: strict")  # fmt: skip
    parser.add_argument("--seconds", type=above_0, default=5.0, help="measured per round and rate")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument(
        "--stored", type=count_or_0, default=1_000_000, help="events already in the file"
    )
    parser.add_argument("--seed", type=count_or_0, default=0)
    parser.add_argument("--directory", type=folder, help="a directory on the disk to measure")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
