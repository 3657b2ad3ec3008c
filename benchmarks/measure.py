"""Measuring one system: the client's process, CPU of the system's processes, the figures.

CPU-milliseconds a request, over every process of the system and their children,
is the figure that neighbours on the machine move least.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.load import Task
from benchmarks.systems.process import ROOT, NotAvailable
from benchmarks.systems.system import Door, System

Figures = dict[str, Any]


class Client:
    """The load process; `measure` any number of times."""

    def __init__(self, repository: Path, seed: int) -> None:
        command = [sys.executable, "-m", "benchmarks.load", "--repository", str(repository)]
        self._process = subprocess.Popen(
            [*command, "--seed", str(seed)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, task: Task, system: System) -> Figures:
        """Load a system once; raises NotAvailable where nothing was answered."""
        self._say(task)
        trees = {name: tree(pid) for name, pid in system.processes().items()}
        self._hear()
        before = {name: cpu_seconds(processes) for name, processes in trees.items()}
        self._hear()
        after = {name: cpu_seconds(processes) for name, processes in trees.items()}
        seen = json.loads(self._hear())
        made = figures(seen, {name: after[name] - before[name] for name in trees})
        # Not the system's, but the client shares its cores: say how much it took.
        made["client_cpu_ms_per_request"] = 1000 * seen["client_cpu"] / made["requests"]
        return made

    def _say(self, task: Task) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the client takes no tasks")
        self._process.stdin.write(json.dumps(dataclasses.asdict(task)) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"the load client ended with {self._process.wait()}")
        return line

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def task(door: Door, seconds: float, seed: int, **how: Any) -> Task:
    """Return the task of loading a system through its door."""
    return Task(
        kind=door.kind, address=door.address, path=door.path, codec=door.codec,
        exact=door.exact, length=door.length, seconds=seconds, seed=seed, **how,
    )  # fmt: skip


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU time that processes have used; one that has ended counts no more."""
    total = 0.0
    for process in processes:
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += used.user + used.system
    return total


def figures(seen: Mapping[str, Any], cpu: Mapping[str, float]) -> Figures:
    """Turn latencies (seconds) and CPU-seconds by process into the reported figures.

    Only whole and right answers count as done; latency is over all requests.
    """
    latencies = sorted(seen["latencies"])
    failed = sum(seen["failures"].values())
    right = len(latencies) - failed
    if right <= 0:
        raise NotAvailable(f"no right answer: {seen['failures'] or 'no answer at all'}")
    return {
        "requests": len(latencies),
        "failed": failed,
        "failures": dict(seen["failures"]),
        "requests_per_second": right / seen["seconds"],
        "p50_ms": 1000 * _quantile(latencies, 0.5),
        "p99_ms": 1000 * _quantile(latencies, 0.99),
        "cpu_ms_per_request": 1000 * sum(cpu.values()) / right,
        "cpu_ms_by_process": {name: 1000 * used / right for name, used in cpu.items()},
    }


def _quantile(ascending: Sequence[float], at: float) -> float:
    return ascending[min(len(ascending) - 1, int(at * len(ascending)))]
