"""Malformed requests to every rpc of every server, and raw bytes to every port."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from benchmarks.chaos.fuzz import sockets
from benchmarks.chaos.fuzz.messages import Valid, of_gateway, of_model_server
from benchmarks.chaos.fuzz.sender import Report, Sender
from benchmarks.chaos.trial import PLAIN, Check, Scale, Wiring
from benchmarks.chaos.world import World
from cli.topology import NAMES

_IDLE = 40
# Growth from a warm process to the end that is no leak: allocators and caches breathe.
_BREATH = 1.15
_BREATH_MB = 24.0


@dataclass(frozen=True, slots=True)
class MalformedTrial:
    """Fuzzing with knowledge of the messages, then without any."""

    name: str = "malformed"
    fault: str = "malformed requests to every rpc, raw bytes on every port"
    wiring: Wiring = PLAIN

    def run(self, world: World, scale: Scale) -> Sequence[Check]:
        """Send a fifth, look at the memory, send the rest, look again."""
        ends = world.fleet.topology.all
        pids = {name: world.fleet.pid(name) for name in NAMES}
        sender = Sender({e.name: e.address for e in ends}, _valid(world), scale.seed)
        ports = [port for end in ends for port in (end.port, end.metrics_port)]
        sender.send(50 * len(ends))
        handles = _handles(pids)

        def attack(malformed: int, raw: int) -> None:
            with sockets.idlers(ports, _IDLE):
                sender.send(malformed)
                sockets.shower(ports, raw, scale.seed + raw)
            world.until(lambda: _no_more(handles, _handles(pids)))

        attack(scale.malformed // 5, scale.raw // 5)
        warm = world.memory_mb()
        attack(scale.malformed - scale.malformed // 5, scale.raw - scale.raw // 5)
        sender.send(len(ends))
        alive = {name: world.fleet.pid(name) for name in NAMES} == pids
        return [
            Check("no process crashes", "none" if alive else "one was started again", alive),
            *_statuses(sender.report, scale),
            _memory(warm, world.memory_mb()),
            _left(handles, _handles(pids)),
        ]


def _valid(world: World) -> list[Valid]:
    connection = sqlite3.connect(f"file:{world.state}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT item_id, item_key FROM items ORDER BY item_key LIMIT 50"
        ).fetchall()
    finally:
        connection.close()
    made = of_gateway([row[0] for row in rows], world.users[0])
    for end in world.fleet.topology.sources:
        made += of_model_server(end.name, end.address, [row[1] for row in rows])
    return made


def _statuses(report: Report, scale: Scale) -> list[Check]:
    told = ", ".join(f"{n:,} {status}" for status, n in report.statuses.most_common())
    failed = report.good_failed
    return [
        Check(
            f"{scale.malformed:,} malformed requests get a right status",
            f"{len(report.wrong)} wrong, first {report.wrong[0]}" if report.wrong else told,
            not report.wrong,
        ),
        Check(
            "good requests among them are served",
            f"{report.good - len(failed)} of {report.good}" + (f"; {failed[0]}" if failed else ""),
            not failed,
        ),
    ]


def _memory(before: dict[str, float], after: dict[str, float]) -> Check:
    said = ", ".join(f"{name} {before[name]:.0f} to {after[name]:.0f}" for name in before)
    flat = all(after[n] <= max(before[n] * _BREATH, before[n] + _BREATH_MB) for n in before)
    return Check("memory stays flat", f"MB: {said}", flat, bound=True)


def _handles(pids: dict[str, int]) -> dict[str, int]:
    """Return threads and open files of each process, added up."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    return {name: p.num_threads() + p.num_fds() for name, p in processes.items()}


def _no_more(before: dict[str, int], after: dict[str, int]) -> bool:
    return all(after[name] <= before[name] + 10 for name in before)


def _left(before: dict[str, int], after: dict[str, int]) -> Check:
    said = ", ".join(f"{name} {before[name]} to {after[name]}" for name in before)
    return Check("no thread and no connection is left behind", said, _no_more(before, after))


TRIALS = (MalformedTrial(),)
