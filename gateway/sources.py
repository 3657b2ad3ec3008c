"""One model service as the gateway sees it: a question in, an answer or a reason why not.

`Source.ask` never raises: a model that is late, gone or talks nonsense costs its
own part of a ranking and nothing else. Questions that come while a call is in
flight share the next one (coalesce.py); which server gets the call, and whether
it is worth calling at all, is the connection's business.
"""

import logging
import time

import grpc
import numpy as np

from gateway.coalesce import Coalescer, Row
from gateway.fusion.types import Floats, Ints
from gateway.link import Link
from gateway.questions import (
    Knows,
    NoNumbers,
    anything,
    read_answers,
    suits,
    together,
    write_questions,
)
from gateway.replicas.contract import Contract
from gateway.replicas.errors import ReplicaError
from gateway.rounds import Rounds
from gateway.types import Outcome, Question, SourceAnswer
from services.runtime.errors import PlaitError
from services.runtime.logs import Seldom
from services.runtime.metrics import INVALID_SCORES
from services.runtime.tensors import TensorError

_log = logging.getLogger(__name__)
_NO_KEYS: Ints = np.zeros(0, np.int64)
_NO_SCORES: Floats = np.zeros(0, np.float32)
# Both are a source's own words and end up in metrics and replies.
_LONGEST_VERSION = 32
_LONGEST_DETAIL = 200
_OUTCOMES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Outcome.LATE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Outcome.SHED,
}
# One row may have caused these; alone, each gets what it deserves.
BY_A_ROW = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)


class Source:
    """Asks one model over one connection."""

    def __init__(
        self,
        connection: Link,
        rounds: Rounds,
        *,
        max_rows: int = 64,
        max_calls: int = 1,
        knows: Knows = anything,
    ) -> None:
        """At most `max_rows` questions share a call; `max_calls` are in flight to a replica.

        `knows`: whether the shop has any of the items that an answer names.
        """
        self.name = connection.name
        self.connection = connection
        self._max_calls = max_calls
        self._knows = knows
        self._seldom = Seldom()
        self._coalescer = Coalescer(self._send, rounds, max_rows=max_rows, max_calls=max_calls)

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

    def late(self, row: Row) -> SourceAnswer:
        """Return the answer of a source that did not answer in time."""
        spent = time.perf_counter() - row.began
        return self._without(Outcome.LATE, "no answer within the deadline", spent)

    def ask(self, question: Question, deadline: float) -> Row:
        """Ask one question; `deadline` in time.perf_counter() seconds.

        The row may be answered already; otherwise it is by the deadline, or never:
        whoever waits must watch the time, and leave.
        """
        row = Row(question, together(question), time.perf_counter(), deadline)
        contract = self._contract(question.version)
        if contract is None:
            row.answer = self._without(Outcome.ERROR, "not reached yet")
        elif not suits(contract, question):
            row.answer = self._without(Outcome.SKIPPED, "reads nothing that this request has")
        elif deadline <= row.began:
            row.answer = self._without(Outcome.LATE, "no time was left to ask")
        else:
            self._coalescer.max_calls = self._max_calls * self.connection.width
            self._coalescer.add(row)
        return row

    def _contract(self, version: str) -> Contract | None:
        """Return what to write questions by that want this version, "" for any."""
        named = self.connection.contract_for(version) if version else None
        return named or self.connection.contract

    async def _send(self, rows: list[Row], *, again: bool = False) -> None:
        """Ask for all rows in one call; those that failed together are asked apart."""
        failure, suspect = await self._call(rows, again=again)
        if failure is None:
            return
        if suspect and len(rows) > 1:
            # Halves find one bad row among many in few calls.
            half = len(rows) // 2
            for part in (rows[:half], rows[half:]):
                await self._send([row for row in part if not row.gone], again=True)
            return
        now = time.perf_counter()
        for row in rows:
            row.resolve(self._without(*failure, now - row.began))

    async def _call(
        self, rows: list[Row], *, again: bool
    ) -> tuple[tuple[Outcome, str] | None, bool]:
        """Make one call; return why it failed, None if not, and whether one row may be why.

        `again`: as part of a call that has failed. One bad row must not be counted against
        its server once for every half that it was in.
        """
        contract = self._contract(rows[0].question.version) if rows else None
        seconds = max((row.deadline for row in rows), default=0.0) - time.perf_counter()
        if contract is None or seconds <= 0:
            return (Outcome.LATE, "no time was left to ask"), False
        try:
            questions = [row.question for row in rows]
            request = write_questions(self.name, contract, questions)
            # Read inside the call: an answer that is not usable counts against its server.
            answers, served = await self.connection.ask(
                request,
                seconds,
                lambda r: (read_answers(r, questions, self._knows), r.model_version),
                counted=not again,
            )
            version = (served or contract.version)[:_LONGEST_VERSION]
        except ReplicaError as error:
            return (error.outcome, str(error)[:_LONGEST_DETAIL]), False
        except (grpc.aio.AioRpcError, PlaitError) as error:
            code = error.status if isinstance(error, PlaitError) else error.code()
            return (_OUTCOMES.get(code, Outcome.ERROR), _detail(code)), code in BY_A_ROW
        except TensorError as error:
            if self._seldom.news(error):  # it may be so with every call
                _log.warning("answer not usable", extra={"source": self.name, "reason": str(error)})
            if isinstance(error, NoNumbers):
                INVALID_SCORES.labels(self.name).inc(error.count)
            return (Outcome.ERROR, f"answer not usable: {error}"[:_LONGEST_DETAIL]), False
        except Exception as error:  # whatever it is, the other sources have answers to merge
            if self._seldom.news(error):
                _log.exception("asking failed", extra={"source": self.name})
            return (Outcome.ERROR, "failed"), False
        now = time.perf_counter()
        for row, given in zip(rows, answers, strict=True):
            row.resolve(
                SourceAnswer(
                    self.name, Outcome.OK, given.keys, given.scores, version, given.embedding,
                    now - row.began, invalid=given.invalid,
                )
            )  # fmt: skip
        return None, False

    def _without(self, outcome: Outcome, detail: str, seconds: float = 0.0) -> SourceAnswer:
        return SourceAnswer(
            self.name, outcome, _NO_KEYS, _NO_SCORES, self.version, None, seconds, detail
        )


def _detail(code: grpc.StatusCode) -> str:
    """What may be shown of a failed call: our words, not the server's."""
    known = {
        grpc.StatusCode.DEADLINE_EXCEEDED: "no answer within the deadline",
        grpc.StatusCode.RESOURCE_EXHAUSTED: "refused, too busy",
        grpc.StatusCode.UNAVAILABLE: "not reachable",
    }
    return known.get(code, code.name.lower().replace("_", " "))
