"""Systems side by side: none is measured that does another job, none is left out in silence."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from benchmarks import machine
from benchmarks.contest import Contest, Disagreement, Examiner, median
from benchmarks.costs import BASE, ratios
from benchmarks.job.wire import INFER
from benchmarks.job.world import world
from benchmarks.measure import figures
from benchmarks.systems.process import NotAvailable
from benchmarks.systems.system import Door
from benchmarks.tables import show
from inference import inference_pb2 as pb

KEYS, SCORES = np.arange(1, 21), np.linspace(1, 0.1, 20, dtype=np.float32)


class Expecting:
    """Stands for the reference: the same answer to everything."""

    def answer(self, histories: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(KEYS, SCORES)] * len(histories)


class Served:
    """A system that answers every call with the same keys, over a real port."""

    resident = True

    def __init__(self, name: str, keys: np.ndarray = KEYS) -> None:
        self.name = name
        self._keys = keys
        self.stopped = 0
        self._server: grpc.Server | None = None

    def start(self) -> Door:
        self._server = grpc.server(ThreadPoolExecutor(1))
        response = pb.ModelInferResponse()
        response.outputs.add(name="item_keys")
        response.outputs.add(name="scores")
        response.raw_output_contents.extend([self._keys.tobytes(), SCORES.tobytes()])
        body = response.SerializeToString()
        handler: Any = grpc.unary_unary_rpc_method_handler(lambda _request, _context: body)
        service, method = INFER.strip("/").split("/")
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return Door("grpc", f"127.0.0.1:{port}", INFER, "infer")

    def processes(self) -> Mapping[str, int]:
        return {}

    def stop(self) -> None:
        self.stopped += 1
        if self._server is not None:
            self._server.stop(None)


class Absent(Served):
    """A system that cannot be installed here."""

    def start(self) -> Door:
        raise NotAvailable("needs what is not here")


class Counting:
    """Stands for the load client: notes what it is asked to measure."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def measure(self, task: Any, system: Any) -> dict[str, Any]:
        self.asked.append((system.name, task.callers))
        return {"requests": 10, "failed": 0, "failures": {}}


def contest(systems: list[Served], client: Counting) -> Contest:
    reference: Any = Expecting()
    measured: Any = client
    examiner = Examiner(world(items=500), reference)
    return Contest({s.name: s for s in systems}, measured, examiner, lambda _text: None)


def test_a_system_that_answers_differently_ends_the_run() -> None:
    systems = [Served("right"), Served("wrong", KEYS + 1)]
    held = contest(systems, Counting())
    with pytest.raises(Disagreement, match="wrong answers request 0 differently"):
        held.start()
    held.close()
    assert [s.stopped for s in systems] == [1, 1]


def test_a_system_that_is_not_there_is_a_row_with_the_reason() -> None:
    client = Counting()
    held = contest([Served("there"), Absent("gone")], client)
    held.start()
    held.round(lambda _key, _row: {"1": {"callers": 1}}, 0.1, 0)
    held.close()
    assert client.asked == [("there", 1)]
    assert held.medians()["gone"] == {"not available": "needs what is not here"}
    assert held.medians()["there"] == {"1": {"requests": 10, "failed": 0, "failures": {}}}


def test_a_load_without_a_right_answer_is_told_and_costs_no_other_load() -> None:
    class Failing(Counting):
        def measure(self, task: Any, system: Any) -> dict[str, Any]:
            if task.callers == 64:
                raise NotAvailable("no right answer: {'status 8': 3}")
            return super().measure(task, system)

    held = contest([Served("a")], Failing())
    held.start()
    held.round(lambda _key, _row: {"64": {"callers": 64}, "1": {"callers": 1}}, 0.1, 0)
    held.close()
    assert list(held.medians()["a"]) == ["1"]
    assert held.empty() == {"a": ["64: no right answer: {'status 8': 3}"]}


def test_loads_take_turns_among_systems_and_a_costly_one_is_up_only_for_its_own() -> None:
    client, costly = Counting(), Served("costly")
    costly.resident = False
    held = contest([Served("a"), costly, Served("b")], client)
    held.start()
    loads = {"1": {"callers": 1}, "16": {"callers": 16}}
    for number in range(2):
        held.round(lambda _key, _row: loads, 0.1, number)
    assert client.asked[:6] == [
        ("a", 1), ("b", 1), ("a", 16), ("b", 16), ("costly", 1), ("costly", 16),
    ]  # fmt: skip
    assert costly.stopped == 2
    held.close()


def test_a_row_is_measured_only_under_the_loads_planned_for_it() -> None:
    client, costly = Counting(), Served("costly")
    costly.resident = False
    held = contest([Served("a"), Served("b"), costly], client)
    held.start()
    held.round(lambda key, _row: {"50%": {"callers": 5}} if key == "b" else {}, 0.1, 0)
    assert client.asked == [("b", 5)]
    assert costly.stopped == 0
    held.close()


def test_what_a_variant_costs_is_compared_within_each_round() -> None:
    slow, fast = {"cpu_ms_per_request": 8.0}, {"cpu_ms_per_request": 4.0}
    # A slow minute hits both lines of a round alike.
    rounds = {BASE: [fast, slow], "explained": [slow, {"cpu_ms_per_request": 16.0}], "gone": []}
    assert ratios(rounds) == {BASE: 1.0, "explained": 2.0}


def test_only_right_answers_count_as_done() -> None:
    seen = {"seconds": 2.0, "latencies": [0.002] * 98 + [0.1] * 2, "failures": {"partial": 20}}
    made = figures(seen, {"gateway": 0.4, "cf": 0.4})
    assert made["requests_per_second"] == 40
    assert made["cpu_ms_per_request"] == pytest.approx(10.0)
    assert made["p99_ms"] == pytest.approx(100.0)
    assert made["failed"] == 20
    with pytest.raises(NotAvailable, match="UNAVAILABLE"):
        figures({"seconds": 1.0, "latencies": [0.1], "failures": {"UNAVAILABLE": 1}}, {})


def test_every_number_is_the_median_over_rounds_and_every_failure_is_kept() -> None:
    rounds = [{"a": {"b": x}, "failures": {f"f{x}": 1}} for x in (3, 1, 2)]
    assert median(rounds) == {"a": {"b": 2}, "failures": {"f3": 1, "f1": 1, "f2": 1}}


def test_a_result_reads_well_with_a_missing_system(capsys: pytest.CaptureFixture[str]) -> None:
    seen = figures({"seconds": 1.0, "latencies": [0.001], "failures": {}}, {"gateway": 0.001})
    rounds = {"Plait": {"16": [seen]}, "plain grpc.aio fan-out": {"16": [seen]}, "Triton": {}}
    closed = {name: {k: median(v) for k, v in loads.items()} for name, loads in rounds.items()}
    result = {
        "question": "the same job",
        "machine": machine.describe(),
        "seed": 0, "seconds": 1.0, "rounds": 1,
        "floor": {"16": {"wall_ms_per_request": 0.5, "cpu_ms_per_request": 0.5}},
        "closed_loop": closed | {"Triton": {"not available": "needs Linux"}},
        "every_round": rounds,
        "without_an_answer": {"Plait": ["64: no right answer"]},
        "open_loop": {"Plait": {"50%": seen}},
        "costs": {BASE: seen | {"cpu_ratio": 1.0}, "explained": {"not available": "no"}},
    }  # fmt: skip
    assert json.loads(json.dumps(result)) == result
    show(result)
    said = capsys.readouterr().out
    assert "Triton: not available: needs Linux" in said
    assert "1.00" in said
    assert "2.0" in said
    assert "without a right answer: 64" in said
    assert "50%" in said
    assert max(len(line) for line in said.splitlines()) <= 110
