"""One model service as the gateway sees it: a question in, an answer or a reason why not.

`Source.ask` never raises: a model that is late, gone or talks nonsense costs its
own part of a ranking and nothing else. Hedging, coalescing and a breaker belong
here, behind the same call.
"""

import logging
import time
from collections.abc import Mapping
from typing import cast

import grpc
import numpy as np

from gateway.connection import Connection, Contract
from gateway.fusion.types import Floats, Ints
from gateway.types import Outcome, Question, SourceAnswer
from inference import inference_pb2 as pb
from services.runtime.tensors import Array, TensorError, read_outputs, write_request

_log = logging.getLogger(__name__)
_NO_KEYS = np.zeros(0, np.int64)
_NO_SCORES = np.zeros(0, np.float32)
# Both are a source's own words and end up in metrics and replies.
_LONGEST_VERSION = 32
_LONGEST_DETAIL = 200
_OUTCOMES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Outcome.LATE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Outcome.SHED,
}


class Source:
    """Asks one model over one connection."""

    def __init__(self, connection: Connection) -> None:
        self.name = connection.name
        self.connection = connection

    @property
    def version(self) -> str:
        """The version last described; "" before the first contact."""
        return self.connection.contract.version if self.connection.contract else ""

    @property
    def reads_text(self) -> bool:
        """Say whether the model is known to read queries."""
        return self.connection.contract is not None and "query" in self.connection.contract.inputs

    def skipped(self, detail: str) -> SourceAnswer:
        """Return the answer of a source that is not asked."""
        return self._without(Outcome.SKIPPED, detail)

    async def ask(self, question: Question, deadline: float) -> SourceAnswer:
        """Ask one question; `deadline` in time.perf_counter() seconds."""
        start = time.perf_counter()
        contract = self.connection.contract
        if contract is None:
            return self._without(Outcome.ERROR, "not reached yet")
        if not suits(contract, question):
            return self._without(Outcome.SKIPPED, "reads nothing that this request has")
        if deadline <= start:
            return self._without(Outcome.LATE, "no time was left to ask")
        try:
            request = write_question(self.name, contract, question)
            response = await self.connection.infer(request, deadline - start)
            keys, scores, embedding = _read(response, question)
            version = (response.model_version or contract.version)[:_LONGEST_VERSION]
            spent = time.perf_counter() - start
            return SourceAnswer(
                self.name, Outcome.OK, keys, scores, version, embedding, spent,
                invalid=_invalid(keys, scores, scored=question.candidates is not None),
            )  # fmt: skip
        except grpc.aio.AioRpcError as error:
            failure = _OUTCOMES.get(error.code(), Outcome.ERROR), _detail(error)
        except TensorError as error:
            _log.warning("answer not usable", extra={"source": self.name, "reason": str(error)})
            failure = Outcome.ERROR, f"answer not usable: {error}"[:_LONGEST_DETAIL]
        except Exception:  # whatever it is, the other sources have answers to merge
            _log.exception("asking failed", extra={"source": self.name})
            failure = Outcome.ERROR, "failed"
        return self._without(*failure, time.perf_counter() - start)

    def _without(self, outcome: Outcome, detail: str, seconds: float = 0.0) -> SourceAnswer:
        return SourceAnswer(
            self.name, outcome, _NO_KEYS, _NO_SCORES, self.version, None, seconds, detail
        )


def suits(contract: Contract, question: Question) -> bool:
    """Say whether a model can make anything of a question."""
    if question.candidates is not None and "candidates" not in contract.inputs:
        return False
    by_history = "history" in contract.inputs and len(question.history) > 0
    return by_history or ("query" in contract.inputs and bool(question.text))


def write_question(model: str, contract: Contract, question: Question) -> pb.ModelInferRequest:
    """Put a question into the words of a model: what it declares, and only that."""
    have: dict[str, Array] = {
        "history": question.history[None, :],
        "history_weight": question.history_weight[None, :],
    }
    if question.text:
        have["query"] = np.array([[question.text.encode()]], object)
    if question.candidates is not None:
        have["candidates"] = question.candidates[None, :]
        wanted = ["scores"]
    else:
        have["k"] = np.array([question.k], np.int64)
        wanted = ["item_keys", "scores"]
    if question.embedding and "embedding" in contract.outputs:
        wanted.append("embedding")
    inputs = {name: array for name, array in have.items() if name in contract.inputs}
    request = write_request(model, inputs, wanted, question.version)
    if "k" in have and "k" not in inputs:
        request.parameters["k"].int64_param = question.k
    return request


def _read(
    response: pb.ModelInferResponse, question: Question
) -> tuple[Ints, Floats, Floats | None]:
    """Return keys, scores and embedding; raises TensorError naming what does not fit."""
    outputs = read_outputs(response)
    embedding = None
    if "embedding" in outputs:
        embedding = cast(Floats, _only_row(outputs, "embedding", np.float32))
    scores = cast(Floats, _only_row(outputs, "scores", np.float32))
    keys = question.candidates
    if keys is None:
        keys = cast(Ints, _only_row(outputs, "item_keys", np.int64))
    if len(keys) != len(scores):
        raise TensorError(f"scores: {len(scores)} for {len(keys)} items")
    if question.candidates is None:
        keys, scores = keys[: question.k], scores[: question.k]
    return keys, scores, embedding


def _invalid(keys: Ints, scores: Floats, *, scored: bool) -> int:
    """Count scores that are no numbers; NaN is a fair answer to a score question only."""
    bad = np.isinf(scores) if scored else ~np.isfinite(scores) & (keys != 0)
    return int(np.count_nonzero(bad))


def _only_row(outputs: Mapping[str, Array], name: str, dtype: type[np.generic]) -> Array:
    """Return the row of an output [1, n]."""
    array = outputs.get(name)
    if array is None:
        raise TensorError(f"{name}: missing")
    if array.dtype != dtype:
        raise TensorError(f"{name}: is {array.dtype}, wanted {np.dtype(dtype)}")
    if array.ndim != 2 or array.shape[0] != 1:
        raise TensorError(f"{name}: shape {list(array.shape)}, wanted [1, n]")
    return cast(Array, array[0])


def _detail(error: grpc.aio.AioRpcError) -> str:
    """What may be shown of a failed call: our words, not the server's."""
    code = error.code()
    known = {
        grpc.StatusCode.DEADLINE_EXCEEDED: "no answer within the deadline",
        grpc.StatusCode.RESOURCE_EXHAUSTED: "refused, too busy",
        grpc.StatusCode.UNAVAILABLE: "not reachable",
    }
    return known.get(code, code.name.lower().replace("_", " "))
