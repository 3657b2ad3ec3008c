"""The figures of a serving benchmark as tables for people."""

from collections.abc import Mapping
from typing import Any

from cli.output import console, table
from cli.topology import NAMES


def show(result: Mapping[str, Any]) -> None:
    """Print machine, serving figures and bare costs."""
    out = console()
    host = result["machine"]
    out.print(result["question"])
    out.print(
        f"{host['cpu']}, {host['cores']} cores, load average {host['load_average'][0]}; "
        f"grpcio {host['versions']['grpcio']}, onnxruntime "
        f"{host['versions']['onnxruntime']}; median of {len(result['rounds'])} rounds of "
        f"{result['seconds']:.0f} s, seed {result['seed']}",
        style="dim",
    )  # fmt: skip
    serving = table(">Callers", ">Requests/s", ">p50 ms", ">p99 ms", ">Not complete %", ">CPU ms")
    shares = table("CPU ms of a request", *(f">{name}" for name in NAMES), ">All five")
    for callers, seen in result["median"]["serving"].items():
        serving.add_row(
            callers,
            f"{seen['requests_per_second']:.0f}",
            f"{seen['p50_ms']:.1f}",
            f"{seen['p99_ms']:.1f}",
            f"{100 * seen['not_ok'] / seen['requests']:.1f}",
            f"{seen['cpu_ms_per_request']:.2f}",
        )
        by_process = [f"{seen['cpu_ms_by_process'][name]:.2f}" for name in NAMES]
        shares.add_row(f"{callers} at a time", *by_process, f"{seen['cpu_ms_per_request']:.2f}")
    out.print(serving)
    out.print(shares)
    bare = table("Bare model, one process", ">ms/row, batch 1", ">CPU", ">ms/row, batch 16", ">CPU")
    costs: Mapping[str, Any] = result["median"]["bare"]
    for source, by_batch in costs.items():
        bare.add_row(source, *_cells(by_batch))
    bare.add_row("all four", *_cells(_total(costs)))
    out.print(bare)


def _cells(by_batch: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        f"{by_batch[batch][name]:.3f}"
        for batch in ("1", "16")
        for name in ("wall_ms_per_row", "cpu_ms_per_row")
    ]


def _total(costs: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        batch: {
            name: sum(by_batch[batch][name] for by_batch in costs.values())
            for name in ("wall_ms_per_row", "cpu_ms_per_row")
        }
        for batch in ("1", "16")
    }
