"""What chaos concludes from what it saw, and how it breaks a message."""

import asyncio
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message

from benchmarks.chaos.account import Account, Call
from benchmarks.chaos.cutter import Cutter
from benchmarks.chaos.faults import TRIALS
from benchmarks.chaos.faults.sources import shoppers
from benchmarks.chaos.fuzz import messages, mutate, tensors
from benchmarks.chaos.load import judged, pushback
from benchmarks.chaos.meddler import SPOILS, spoiled
from benchmarks.chaos.small_disk import Mounted, Quota, small_disk
from benchmarks.chaos.table import as_json, show
from benchmarks.chaos.trial import FULL, Check, Finding
from gateway.api.profiles import ProfileServicer
from gateway.api.servicer import CatalogServicer, EventServicer, RecommendationServicer
from inference import inference_pb2 as pb
from plait.v1 import recommendation_service_pb2 as api
from plait.v1 import types_pb2 as t
from services.runtime.errors import InvalidArgument
from services.runtime.tensors import Array, read_outputs, write_request, write_response
from services.runtime.validation import read_request
from tests.support.artifacts import wire_inputs


def call(due: float, seconds: float = 0.01, **sources: str) -> Call:
    missing = any(outcome != "OK" for outcome in sources.values())
    return Call(due, seconds, "partial" if missing else "ok", sources)


def answer(*outcomes: int, items: int = 1, **coverage: bool) -> api.RecommendResponse:
    return api.RecommendResponse(
        items=[t.RankedItem(item_id=str(n)) for n in range(items)],
        sources=[t.SourceStatus(source=f"s{n}", outcome=o) for n, o in enumerate(outcomes)],  # type: ignore[arg-type]
        coverage=t.Coverage(**coverage),
    )


OK, LATE, SKIPPED = t.SOURCE_OUTCOME_OK, t.SOURCE_OUTCOME_LATE, t.SOURCE_OUTCOME_SKIPPED


@pytest.mark.parametrize(
    ("reply", "kind", "honest"),
    [
        (answer(OK, SKIPPED), "ok", True),
        (answer(OK, LATE, partial=True), "partial", True),
        (answer(OK, LATE), "partial", False),
        (answer(LATE, partial=True, fallback=True), "fallback", True),
        (answer(OK, items=0), "failed", True),
        (answer(OK, partial=True), "ok", False),
    ],
)
def test_an_answer_counts_as_what_the_shopper_got(
    reply: api.RecommendResponse, kind: str, honest: bool
) -> None:
    seen = judged(reply, 1.0, 0.2)
    assert (seen.kind, seen.honest) == (kind, honest)


def test_a_source_is_back_when_an_answer_first_has_it_after_the_fault() -> None:
    account = Account([call(1, cf="OK"), call(3, cf="LATE"), call(5, cf="OK"), call(6, cf="OK")])
    assert account.first_use("cf", 2) == pytest.approx(5.01)
    assert account.first_use("cf", 7) is None
    assert account.outcomes("cf") == {"OK": 3, "LATE": 1}
    assert account.between(3, 6).counts()["partial"] == 1


def test_latency_is_judged_apart_from_failures() -> None:
    slow = Account([call(n, 1.0, cf="OK") for n in range(10)])
    failed, late = shoppers(slow, FULL)
    assert (failed.held, late.held, late.bound) == (True, False, True)
    slow.calls.append(Call(11, 0.1, "failed", {}, detail="UNAVAILABLE: gone"))
    assert not shoppers(slow, FULL)[0].held
    assert "UNAVAILABLE: gone" in shoppers(slow, FULL)[0].measured


def test_a_finding_passes_without_its_bounds_on_time_only_where_they_are_not_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    checks = (Check("none fails", "0", held=True), Check("fast", "9 s", held=False, bound=True))
    finding = Finding("kill", "kill -9 of all", checks, 1.0)
    assert finding.passed(bounds=False)
    assert not finding.passed(bounds=True)
    assert as_json([finding], bounds=False)[0]["passed"] is True
    show([finding], bounds=True)
    assert "0 of 1 faults held; not: kill" in capsys.readouterr().out


def test_every_fault_has_a_name_of_its_own_and_neighbours_share_a_world() -> None:
    names = [trial.name for trial in TRIALS]
    assert len(set(names)) == len(names)
    wirings = [trial.wiring for trial in TRIALS]
    changes = sum(a != b for a, b in itertools.pairwise(wirings))
    assert changes == len({repr(w) for w in wirings}) - 1


GATEWAY = [v.message for v in messages.of_gateway(["a", "b", "c", "d", "e"], "u")]
INFER = write_request(
    "cf",
    {
        "history": np.ones((1, 6), np.int64),
        "history_weight": np.ones((1, 6), np.float32),
        "candidates": np.ones((1, 6), np.int64),
    },
)


def test_every_rpc_that_storefronts_may_call_is_fuzzed() -> None:
    servicers = (RecommendationServicer, EventServicer, CatalogServicer, ProfileServicer)
    served = {
        f"/{servicer.DESCRIPTOR.full_name}/{method.name}"
        for servicer in servicers
        for method in servicer.DESCRIPTOR.methods
    }
    fuzzed = {valid.method for valid in messages.of_gateway(["a", "b", "c", "d", "e"], "u")}
    assert fuzzed == served | {"/grpc.health.v1.Health/Check"}


@pytest.mark.parametrize("message", [*GATEWAY, INFER], ids=lambda m: type(m).__name__)
def test_mutations_are_many_and_repeatable(message: Message) -> None:
    def some(seed: int) -> list[mutate.Malformed]:
        chance = random.Random(seed)
        return [mutate.mutated(message, chance) for _ in range(200)]

    first = some(1)
    assert first == some(1)
    assert len({made.raw for made in first}) > 40
    assert (
        message.SerializeToString()
        == type(message).FromString(message.SerializeToString()).SerializeToString()
    )


@pytest.mark.parametrize("seed", range(100))
def test_a_spoilt_tensor_is_always_an_invalid_argument(seed: int) -> None:
    request = pb.ModelInferRequest.FromString(INFER.SerializeToString())
    how = tensors.spoil(request, random.Random(seed))
    if "output" in how or how.endswith((" nan", "inf")):
        return  # looked at by the model, behind this check
    with pytest.raises(InvalidArgument):
        read_request(request, wire_inputs(), 64)


def plain(outputs: Mapping[str, Array]) -> dict[str, tuple[str, object]]:
    return {name: (str(array.dtype), array.tolist()) for name, array in outputs.items()}


@pytest.mark.parametrize("order", SPOILS)
def test_the_meddler_spoils_what_a_model_says(order: str) -> None:
    said: dict[str, Array] = {
        "item_keys": np.array([[1, 2, 3]], np.int64),
        "scores": np.array([[3.0, 2.0, 1.0]], np.float32),
    }
    whole = write_response("cf", "1", "", said).SerializeToString()
    outputs = read_outputs(pb.ModelInferResponse.FromString(spoiled(whole, order)))
    assert plain(outputs) != plain(said)


async def test_the_cutter_resets_what_is_open_and_lets_through_again() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    def port(server: asyncio.Server) -> int:
        found: int = server.sockets[0].getsockname()[1]
        return found

    async def said(proxy: asyncio.Server, words: Sequence[bytes]) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port(proxy))
        heard = []
        try:
            for word in words:
                writer.write(word)
                heard.append(await reader.read(100))
        finally:
            writer.close()
        return heard

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as real:
        cutter = Cutter(f"127.0.0.1:{port(real)}")
        async with await asyncio.start_server(cutter.serve, "127.0.0.1", 0) as proxy:
            assert await said(proxy, [b"a", b"b"]) == [b"a", b"b"]
            cutter.obey("reset")
            with pytest.raises(ConnectionResetError):
                await said(proxy, [b"a"])
            cutter.obey("pass")
            assert await said(proxy, [b"c"]) == [b"c"]


def status(code: grpc.StatusCode, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata))


def test_a_caller_comes_back_when_it_is_asked_to() -> None:
    refused = status(grpc.StatusCode.RESOURCE_EXHAUSTED, ("grpc-retry-pushback-ms", "50"))
    assert pushback(refused) == pytest.approx(0.05)
    assert pushback(status(grpc.StatusCode.UNAVAILABLE)) is None


def test_a_full_disk_is_full_and_then_is_not(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2, os.getpid) as disk:
        if not isinstance(disk, Mounted):
            pytest.skip("mounting a small file system takes root")
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "disk" / "file").write_bytes(b"x")
        disk.free()
        assert (tmp_path / "disk" / "file").write_bytes(b"x") == 1


def test_a_used_up_quota_forbids_a_process_to_write_until_it_is_lifted(tmp_path: Path) -> None:
    writer = (
        "import pathlib, sys\n"
        "for line in sys.stdin:\n"
        "    try: pathlib.Path(line.strip()).write_bytes(bytes(10_000))\n"
        "    except OSError: print('refused', flush=True)\n"
        "    else: print('written', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", writer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def tried(name: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            print(tmp_path / name, file=process.stdin, flush=True)
            return process.stdout.readline().strip()

        quota = Quota(lambda: process.pid)
        said = [tried("a")]
        quota.fill()
        said.append(tried("b"))
        quota.free()
        said.append(tried("c"))
        process.stdin.close()
    assert said == ["written", "refused", "written"]
