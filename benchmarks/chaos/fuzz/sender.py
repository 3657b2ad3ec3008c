"""Sends malformed requests, with good ones among them, and judges every status."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from benchmarks.chaos.background import begin
from benchmarks.chaos.fuzz.messages import Valid
from benchmarks.chaos.fuzz.mutate import Malformed, mutated
from inference import inference_pb2 as pb

_IN_FLIGHT = 8
_CALL_SECONDS = 30.0
# One request in so many is a good one, and must be answered.
_GOOD_EVERY = 40
_TRIES, _PAUSE = 20, 0.1
_UNLOAD = "/inference.GRPCInferenceService/RepositoryModelUnload"
_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", 64 << 20),
            ("grpc.max_receive_message_length", 64 << 20)]  # fmt: skip
# What a request may be told that a mutation left valid, or made wrong.
_RIGHT = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass
class Report:
    """What became of the requests."""

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    good: int = 0
    good_failed: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """How many malformed requests were sent."""
        return sum(self.statuses.values())


class Sender:
    """Sends to several servers at once, a few requests at a time to each."""

    def __init__(self, addresses: Mapping[str, str], valid: Sequence[Valid], seed: int) -> None:
        self._addresses = addresses
        self._valid = valid
        self._chance = random.Random(seed)  # noqa: S311 -- not for secrets
        self.report = Report()

    def send(self, number: int) -> None:
        """Send so many malformed requests, and good ones among them; blocks until answered."""
        begin(self._send(number)).result()

    async def _send(self, number: int) -> None:
        channels = {
            name: grpc.aio.insecure_channel(address, options=_OPTIONS)
            for name, address in self._addresses.items()
        }
        left = iter(range(number))
        workers = [
            self._work(channel, [v for v in self._valid if v.server == name], left)
            for name, channel in channels.items()
            for _ in range(_IN_FLIGHT)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for channel in channels.values():
                await channel.close()

    async def _work(
        self, channel: grpc.aio.Channel, valid: Sequence[Valid], left: Iterator[int]
    ) -> None:
        for number in left:
            base = self._chance.choice(valid)
            if number % _GOOD_EVERY == 0:
                await self._good(channel, base)
            method, made = self._malformed(base)
            code, said = await _call(channel, method, made.raw)
            self._note(base.server, method, made, code, said)

    def _malformed(self, base: Valid) -> tuple[str, Malformed]:
        made = mutated(base.message, self._chance)
        roll = self._chance.random()
        if roll < 0.01:
            return f"{base.method}Nowhere", made
        if roll < 0.02 and base.server != "gateway":
            # Unloading what is served would be obeyed: only other names are sent there.
            request = pb.RepositoryModelUnloadRequest(model_name=self._chance.choice(("", "x")))
            return _UNLOAD, mutated(request, self._chance)
        return base.method, made

    async def _good(self, channel: grpc.aio.Channel, base: Valid) -> None:
        """Send a good request; one that is refused for load is sent again, as callers do."""
        self.report.good += 1
        for _ in range(_TRIES):
            code, said = await _call(channel, base.method, base.message.SerializeToString())
            if code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                break
            await asyncio.sleep(_PAUSE)
        if code is not grpc.StatusCode.OK:
            self.report.good_failed.append(f"{base.server} {base.method}: {code.name} {said}")

    def _note(
        self, server: str, method: str, made: Malformed, code: grpc.StatusCode, said: str
    ) -> None:
        self.report.statuses[code.name] += 1
        right = {grpc.StatusCode.INVALID_ARGUMENT} if made.certain else _RIGHT
        if len(made.raw) > 16 << 20:
            right = {grpc.StatusCode.RESOURCE_EXHAUSTED}
        if method.endswith("Nowhere"):
            right = {grpc.StatusCode.UNIMPLEMENTED}
        if code not in right:
            name = method.rpartition("/")[2]
            self.report.wrong.append(f"{server} {name} ({made.how}): {code.name} {said[:200]}")


async def _call(channel: Any, method: str, raw: bytes) -> tuple[grpc.StatusCode, str]:
    try:
        await channel.unary_unary(method)(raw, timeout=_CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""
