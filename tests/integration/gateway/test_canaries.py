"""A gateway over a real model service with two versions: who is answered by which."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from inference import inference_pb2 as infer
from inference.inference_pb2_grpc import GRPCInferenceServiceStub
from plait.v1 import rollout_service_pb2 as pb
from plait.v1 import types_pb2 as t
from plait.v1.rollout_service_pb2_grpc import RolloutServiceStub
from services.cf.server import SOURCE as CF
from services.runtime.server import Server
from tests.integration.gateway.fakes import FakeSource
from tests.integration.gateway.world import COUNT, Shop, open_shop, outcomes, vectors
from tests.support.artifacts import Tiny, publish, publish_with_wrong_samples
from tests.support.servers import channel_to, eventually, serving

TINY = Tiny(items=COUNT, first_key=1, step=1)
SHOPPERS = [f"shopper-{n}" for n in range(40)]


@dataclass
class World:
    """A shop whose cf is a real service, and clients of the operators' calls."""

    shop: Shop
    service: Server
    repository: Path
    rollouts: Any = field(init=False)

    def __post_init__(self) -> None:
        self.rollouts = RolloutServiceStub(self.shop.channel)

    async def load(self, version: int, *, beside: bool = False) -> None:
        request = infer.RepositoryModelLoadRequest(model_name="cf")
        request.parameters["version"].int64_param = version
        request.parameters["beside"].bool_param = beside
        async with channel_to(self.service.port) as channel:
            await GRPCInferenceServiceStub(channel).RepositoryModelLoad(request)

    async def unload(self, version: int) -> None:
        request = infer.RepositoryModelUnloadRequest(model_name="cf")
        request.parameters["version"].int64_param = version
        async with channel_to(self.service.port) as channel:
            await GRPCInferenceServiceStub(channel).RepositoryModelUnload(request)

    async def canary(self, share: float, version: str = "2") -> pb.Canary:
        request = pb.SetCanaryRequest(source="cf", model_version=version, share=share)
        return (await self.rollouts.SetCanary(request)).canary

    async def answered_by(self, user: str) -> str:
        """The version of cf in an answer that is whole."""
        # About one item, so that shoppers need no history for all models to be asked.
        answer = await self.shop.recommend(user, t.SURFACE_ITEM, item_ids=["6"])
        assert set(outcomes(answer).values()) == {"ok"}, answer.sources
        return next(s.model_version for s in answer.sources if s.source == "cf")


@asynccontextmanager
async def open_world(directory: Path, **settings: Any) -> AsyncIterator[World]:
    repository = directory / "models"
    if not (repository / "cf").exists():
        publish(repository, TINY)
        publish(repository, Tiny(items=COUNT, first_key=1, step=1, seed=9))
    async with serving(CF, repository) as service:
        other = FakeSource("sequence", vectors(2))
        await other.start()
        addresses = (f"cf=127.0.0.1:{service.port}", f"sequence=127.0.0.1:{other.port}")
        settings = {"item_encoders": (), "contact_ms": 10_000} | settings
        try:
            async with open_shop(directory, sources={}, addresses=addresses, **settings) as shop:
                yield World(shop, service, repository)
        finally:
            await other.stop()


@pytest.fixture
def pinned(directory: Path) -> Path:
    """A directory in which cf serves version 1 at start, with version 2 beside it."""
    repository = directory / "models"
    publish(repository, TINY)
    publish(repository, Tiny(items=COUNT, first_key=1, step=1, seed=9))
    choice = {"default": 1, "beside": [2], "previous": None}
    (repository / "cf" / ".serving.json").write_text(json.dumps(choice))
    return directory


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


async def by_version(world: World) -> dict[str, str]:
    answers = await asyncio.gather(*(world.answered_by(user) for user in SHOPPERS))
    return dict(zip(SHOPPERS, answers, strict=True))


async def test_a_share_of_the_shoppers_gets_the_version_again_and_again(pinned: Path) -> None:
    async with open_world(pinned) as world:
        assert set((await by_version(world)).values()) == {"1"}
        await world.canary(30)
        first = await by_version(world)
        assert set(first.values()) == {"1", "2"}
        assert await by_version(world) == first
        assert counted("plait_canary_share_ratio", source="cf", version="2") == 0.3
        await world.canary(60)
        wider = await by_version(world)
        assert {u for u, v in first.items() if v == "2"} < {u for u, v in wider.items() if v == "2"}
        assert await world.answered_by("") == "1"
        await world.canary(100)
        assert set((await by_version(world)).values()) == {"2"}
        assert await world.answered_by("") == "2"
        ended = await world.rollouts.EndCanary(pb.EndCanaryRequest(source="cf"))
        assert (ended.canary.model_version, ended.canary.share) == ("2", 100)
        assert set((await by_version(world)).values()) == {"1"}
        again = await world.rollouts.EndCanary(pb.EndCanaryRequest(source="cf"))
        assert not again.HasField("canary")


async def test_a_canary_survives_a_restart_of_the_gateway(pinned: Path) -> None:
    async with open_world(pinned) as world:
        kept = await world.canary(30)
        before = await by_version(world)
    async with open_world(pinned) as world:
        listed = (await world.rollouts.GetRollouts(pb.GetRolloutsRequest())).canaries
        assert list(listed) == [kept]
        assert await by_version(world) == before


async def test_shoppers_of_a_version_that_is_gone_are_answered_by_the_default(
    pinned: Path,
) -> None:
    async with open_world(pinned) as world:
        await world.canary(100)
        fallbacks = counted("plait_canary_fallbacks_total", source="cf", version="2")
        await world.unload(2)
        assert set((await by_version(world)).values()) == {"1"}
        now = counted("plait_canary_fallbacks_total", source="cf", version="2")
        assert now == fallbacks + len(SHOPPERS)
        await world.load(2, beside=True)
        answers: list[str] = []

        async def back() -> None:
            while "2" not in answers:
                answers.append(await world.answered_by("ann"))

        await asyncio.wait_for(back(), 30)


async def test_what_a_shopper_was_meant_to_get_is_in_the_exposure_log(pinned: Path) -> None:
    async with open_world(pinned) as world:
        await world.canary(100)
        await world.answered_by("ann")
        await world.unload(2)
        await world.answered_by("ann")
    lines = (pinned / "exposures.jsonl").read_text().splitlines()
    both = [json.loads(line) for line in lines]
    assert [line["canary"] for line in both] == [{"cf": "2"}, {"cf": "2"}]
    assert [line["versions"]["cf"] for line in both] == ["2", "1"]


async def test_no_request_fails_while_versions_are_rolled_out_and_back(pinned: Path) -> None:
    (pinned / "models" / "cf" / ".serving.json").unlink()
    async with open_world(pinned) as world:
        await world.load(1)
        publish_with_wrong_samples(world.repository, Tiny(items=COUNT, first_key=1, step=1, seed=4))
        seen: dict[str, int] = {}
        stop = asyncio.Event()

        async def keep_asking(users: list[str]) -> None:
            for user in cycle(users):
                if stop.is_set():
                    return
                version = await world.answered_by(user)
                seen[version] = seen.get(version, 0) + 1

        async def more(version: str) -> None:
            before = seen.get(version, 0)
            await eventually(lambda: seen.get(version, 0) > before + 20, f"answers of {version}")

        callers = [asyncio.create_task(keep_asking(SHOPPERS[n::8])) for n in range(8)]
        await more("1")
        await world.load(2, beside=True)
        await world.canary(50)
        await more("2")
        assert (await refusal(world.load(3)))[0] is grpc.StatusCode.FAILED_PRECONDITION
        assert (await refusal(world.canary(50, "3")))[0] is grpc.StatusCode.FAILED_PRECONDITION
        await world.load(2)  # promoted
        await world.rollouts.EndCanary(pb.EndCanaryRequest(source="cf"))
        await more("2")
        await world.load(1)  # and back
        await more("1")
        stop.set()
        await asyncio.gather(*callers)
        assert set(seen) == {"1", "2"}


async def test_a_busy_version_hands_its_shoppers_to_the_default(directory: Path) -> None:
    class Two(FakeSource):
        busy = False

        async def describe(self, request: Any, context: Any) -> Any:
            self.version, self.beside = "1", ("2",)
            return await super().describe(request, context)

        async def infer(self, request: Any, context: Any) -> Any:
            self.version = request.model_version or "1"
            self.status = grpc.StatusCode.RESOURCE_EXHAUSTED if self.full(request) else None
            return await super().infer(request, context)

        def full(self, request: Any) -> bool:
            return self.busy and request.model_version == "2"

    source = Two("cf", vectors(0))
    async with open_shop(directory, sources={"cf": source}, item_encoders=()) as shop:
        stub: Any = RolloutServiceStub(shop.channel)
        await stub.SetCanary(pb.SetCanaryRequest(source="cf", model_version="2", share=100))
        answer = await shop.recommend("ann")
        assert [s.model_version for s in answer.sources] == ["2"]
        source.busy = True
        answer = await shop.recommend("ann")
        assert outcomes(answer) == {"cf": "ok"}
        assert [s.model_version for s in answer.sources] == ["1"]


async def test_a_server_that_lists_versions_and_does_not_choose_by_them_is_found_out(
    directory: Path,
) -> None:
    source = FakeSource("cf", vectors(0), beside=("2",))
    async with open_shop(directory, sources={"cf": source}, item_encoders=()) as shop:
        stub: Any = RolloutServiceStub(shop.channel)
        wish = pb.SetCanaryRequest(source="cf", model_version="2", share=5)
        code, details = await refusal(stub.SetCanary(wish))
        assert code.name == "FAILED_PRECONDITION"
        assert "asked for version 2, version 1 answers" in details


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"source": "cf", "model_version": "2", "share": 0}, "INVALID_ARGUMENT", "share: must lie"),
        ({"source": "cf", "model_version": "2", "share": 101}, "INVALID_ARGUMENT", "up to 100"),
        ({"source": "cf", "share": 5}, "INVALID_ARGUMENT", "model_version: required"),
        ({"source": "x", "model_version": "2", "share": 5}, "NOT_FOUND", "there is cf, sequence"),
        (
            {"source": "cf", "model_version": "7", "share": 5},
            "FAILED_PRECONDITION",
            "plait models load cf 7",
        ),
        (
            {"source": "cf", "model_version": "1", "share": 5},
            "FAILED_PRECONDITION",
            "version 1 is the default one",
        ),
        (
            {"source": "sequence", "model_version": "2", "share": 5},
            "FAILED_PRECONDITION",
            "no replica serves version 2",
        ),
    ],
)
async def test_a_canary_that_cannot_be_is_refused_and_nothing_changes(
    pinned: Path, request_: dict[str, Any], status: str, said: str
) -> None:
    async with open_world(pinned) as world:
        code, details = await refusal(world.rollouts.SetCanary(pb.SetCanaryRequest(**request_)))
        assert (code.name, said in details) == (status, True), details
        listed = await world.rollouts.GetRollouts(pb.GetRolloutsRequest())
        assert not listed.canaries


async def test_rollouts_that_are_switched_off_say_so(directory: Path) -> None:
    async with open_shop(directory, rollouts="off") as shop:
        stub: Any = RolloutServiceStub(shop.channel)
        code, said = await refusal(stub.GetRollouts(pb.GetRolloutsRequest()))
        assert (code, "switched off" in said) == (grpc.StatusCode.FAILED_PRECONDITION, True)


async def test_a_change_that_cannot_be_kept_is_not_made(pinned: Path) -> None:
    async with open_world(pinned) as world:
        (pinned / "state.sqlite.rollouts.json.draft").mkdir()
        code, said = await refusal(world.canary(30))
        assert (code, "nothing was changed" in said) == (grpc.StatusCode.UNAVAILABLE, True)
        assert set((await by_version(world)).values()) == {"1"}
