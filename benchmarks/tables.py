"""The comparison as tables for people."""

import statistics
from collections.abc import Mapping
from typing import Any

from cli.output import console, table

# The row that throughput is divided by.
_BASE = "plain grpc.aio fan-out"


def show(result: Mapping[str, Any]) -> None:
    """Print machine, closed loop, CPU by process and the floor."""
    out = console()
    host = result["machine"]
    out.print(result["question"])
    out.print(
        f"{host['cpu']}, {host['cores']} cores, load average {host['load_average'][0]}; "
        f"grpcio {host['versions']['grpcio']}, onnxruntime {host['versions']['onnxruntime']}; "
        f"median of {result['rounds']} rounds of {result['seconds']:.0f} s, seed {result['seed']}",
        style="dim",
    )  # fmt: skip
    measured = {n: m for n, m in result["closed_loop"].items() if "not available" not in m}
    for callers in dict.fromkeys(n for loads in measured.values() for n in loads):
        out.print(_closed(measured, callers, _beside(result, callers)))
    for name, loads in result["closed_loop"].items():
        if "not available" in loads:
            out.print(f"{name}: not available: {loads['not available']}")
    for name, loads in result["without_an_answer"].items():
        out.print(f"{name}: without a right answer: {'; '.join(loads)}")
    out.print(_processes(measured))
    if "open_loop" in result:
        out.print(_open(result["open_loop"]))
    if "costs" in result:
        out.print(_costs(result["costs"]))
    out.print(_floor(result["floor"]))


def _beside(result: Mapping[str, Any], callers: str) -> dict[str, tuple[str, str]]:
    """Return, for each system, its throughput and its CPU beside what they are compared with.

    The plain fan-out's throughput in the same round is 1, and so is the bare models' CPU
    at batch 16.
    """
    ratios = _ratios(result["every_round"], callers)
    bare = result["floor"].get("16", {}).get("cpu_ms_per_request")
    return {
        name: (
            f"{ratios[name]:.2f}" if name in ratios else "",
            f"{loads[callers]['cpu_ms_per_request'] / bare:.1f}" if bare else "",
        )
        for name, loads in result["closed_loop"].items()
        if callers in loads
    }


def _ratios(every: Mapping[str, Any], callers: str) -> dict[str, float]:
    base = [seen["requests_per_second"] for seen in every.get(_BASE, {}).get(callers, [])]
    return {
        name: statistics.median(
            seen["requests_per_second"] / beside
            for seen, beside in zip(loads[callers], base, strict=False)
        )
        for name, loads in every.items()
        if base and callers in loads
    }


def _closed(
    measured: Mapping[str, Any], callers: str, beside: Mapping[str, tuple[str, str]]
) -> Any:
    made = table(
        f"{callers} at a time", ">Requests/s", ">plain = 1", ">p50 ms", ">p99 ms", ">CPU ms",
        ">bare = 1", ">Failed %",
    )  # fmt: skip
    for name, loads in measured.items():
        if callers not in loads:
            continue
        seen = loads[callers]
        made.add_row(
            name,
            f"{seen['requests_per_second']:.0f}",
            beside[name][0],
            f"{seen['p50_ms']:.1f}",
            f"{seen['p99_ms']:.1f}",
            f"{seen['cpu_ms_per_request']:.2f}",
            beside[name][1],
            f"{100 * seen['failed'] / seen['requests']:.1f}",
        )
    return made


def _processes(measured: Mapping[str, Any]) -> Any:
    made = table("CPU ms of a request by process", ">Callers", "")
    for name, loads in measured.items():
        for callers, seen in loads.items():
            parts = seen["cpu_ms_by_process"].items()
            made.add_row(name, callers, "  ".join(f"{p} {ms:.2f}" for p, ms in parts))
    return made


def _floor(floor: Mapping[str, Any]) -> Any:
    made = table("Bare ONNX Runtime, one process", ">Batch", ">ms a request", ">CPU ms")
    for batch, cost in floor.items():
        made.add_row(
            "four models and the merge", batch,
            f"{cost['wall_ms_per_request']:.2f}", f"{cost['cpu_ms_per_request']:.2f}",
        )  # fmt: skip
    return made


def _open(measured: Mapping[str, Any]) -> Any:
    made = table(
        "By the clock", ">Of the most", ">Requests/s", ">p50 ms", ">p99 ms", ">CPU ms", ">Failed %"
    )
    for name, loads in measured.items():
        for fraction, seen in loads.items():
            made.add_row(
                name,
                fraction,
                f"{seen['requests_per_second']:.0f}",
                f"{seen['p50_ms']:.1f}",
                f"{seen['p99_ms']:.1f}",
                f"{seen['cpu_ms_per_request']:.2f}",
                f"{100 * seen['failed'] / seen['requests']:.1f}",
            )
    return made


def _costs(lines: Mapping[str, Any]) -> Any:
    made = table(
        "Plait, 16 at a time", ">Requests/s", ">p50 ms", ">CPU ms", ">First line = 1",
        ">Gateway's CPU ms",
    )  # fmt: skip
    for name, seen in lines.items():
        if "not available" in seen:
            made.add_row(name, "not available", "", "", "", "")
            continue
        made.add_row(
            name,
            f"{seen['requests_per_second']:.0f}",
            f"{seen['p50_ms']:.1f}",
            f"{seen['cpu_ms_per_request']:.2f}",
            f"{seen['cpu_ratio']:.2f}",
            f"{seen['cpu_ms_by_process']['gateway']:.2f}",
        )
    return made
