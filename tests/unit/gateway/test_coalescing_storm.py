"""Every shopper gets the answer to their own question, or none, whatever happens to the others."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import TypeVar, cast

import grpc
import numpy as np
import pytest

from gateway.fanout import fan_out
from gateway.fusion.types import Ints
from gateway.link import Link
from gateway.replicas.contract import Contract
from gateway.replicas.errors import BreakersOpen
from gateway.rounds import Rounds
from gateway.sources import Source
from gateway.traffic import Traffic
from gateway.types import Outcome, Question
from inference import inference_pb2 as pb
from services.runtime.tensors import Array, read_inputs, write_response

T = TypeVar("T")
# An item that makes a server refuse the whole call.
POISON = 666
NONE = grpc.aio.Metadata()
CONTRACT = Contract(
    "1", frozenset({"history", "history_weight", "candidates", "k"}), frozenset({"scores"})
)


class EchoLink:
    """A server that answers with what it was asked, late and badly as chance says."""

    contract = CONTRACT
    width = 1

    def __init__(self, name: str, draw: random.Random) -> None:
        self.name = name
        self.draw = draw
        self.flying = self.most = 0

    async def ask(
        self,
        request: pb.ModelInferRequest,
        seconds: float,
        read: Callable[[pb.ModelInferResponse], T],
        *,
        counted: bool = True,
    ) -> T:
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            for _ in range(self.draw.choice([0, 0, 1, 3, 10, 40])):
                await asyncio.sleep(0)
            if self.draw.random() < 0.03:
                await asyncio.sleep(self.draw.choice([0.001, 0.06]))
            return read(write_response(self.name, "1", "", self.answers(read_inputs(request))))
        finally:
            self.flying -= 1

    def answers(self, asked: dict[str, Array]) -> dict[str, Array]:
        history, chance = cast(Ints, asked["history"]), self.draw.random()
        if (history == POISON).any():
            raise grpc.aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, NONE, NONE)
        if chance < 0.05:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, NONE, NONE)
        if chance < 0.1:
            raise BreakersOpen("resting after failures")
        own = history[:, -1:]
        if "candidates" in asked:
            return {"scores": (cast(Ints, asked["candidates"]) + own).astype(np.float32)}
        keys = own * 1000 + np.arange(1, int(asked["k"][0]) + 1)
        return {"item_keys": keys, "scores": np.ones(keys.shape, np.float32)}


class Storm:
    """Shoppers who ask all sources, and some who go before they are answered."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.traffic = Traffic()
        self.rounds = Rounds(self.traffic)
        self.links = [EchoLink(name, self.draw) for name in "abc"[: self.draw.choice([1, 2, 3])]]
        self.sources = [
            Source(
                cast(Link, link), self.rounds,
                max_rows=self.draw.choice([1, 2, 8]), max_calls=self.draw.choice([1, 1, 2]),
            )
            for link in self.links
        ]  # fmt: skip
        self.answered = 0

    async def call(self, number: int) -> None:
        self.traffic.enter()
        try:
            poisoned = self.draw.random() < 0.1
            history = np.array([POISON, number] if poisoned else [number], np.int64)
            listed = np.array(self.draw.sample(range(1, 50), 4), np.int64)
            question = Question(
                history, np.ones(len(history), np.float32), k=self.draw.randint(1, 6),
                candidates=listed if self.draw.random() < 0.3 else None,
            )  # fmt: skip
            until = time.perf_counter() + self.draw.choice([0.001, 0.02, 30.0])
            await asyncio.sleep(0)
            answers = await fan_out(self.sources, {s.name: question for s in self.sources}, until)
            assert list(answers) == [s.name for s in self.sources]
            for answer in answers.values():
                if answer.outcome is not Outcome.OK:
                    continue
                assert not poisoned
                self.answered += 1
                if question.candidates is None:
                    own = [number * 1000 + n for n in range(1, question.k + 1)]
                    assert answer.keys.tolist() == own
                else:
                    assert answer.keys.tolist() == listed.tolist()
                    assert answer.scores.tolist() == (listed + number).tolist()
        finally:
            self.traffic.leave()


@pytest.mark.parametrize("seed", range(12))
async def test_nobody_is_answered_with_the_rows_of_another(seed: int) -> None:
    storm = Storm(seed)
    callers = []
    for number in range(1, 120):
        callers.append(asyncio.create_task(storm.call(number)))
        if storm.draw.random() < 0.2:
            storm.draw.choice(callers).cancel()
        for _ in range(storm.draw.choice([0, 0, 1, 5, 30])):
            await asyncio.sleep(0)
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert all(one is None or isinstance(one, asyncio.CancelledError) for one in ended), ended
    assert storm.answered
    async with asyncio.timeout(10):  # calls that nobody waits for are given up
        while any(link.flying for link in storm.links):  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.001)
    for source, link in zip(storm.sources, storm.links, strict=True):
        assert all(row.gone for row in source._coalescer._waiting)
        assert link.most <= 2 * source._coalescer.max_calls
    assert storm.traffic.inside == 0
