"""Rows that come while a call is in flight share the next one, and leave when they must."""

import asyncio

import numpy as np

from gateway.coalesce import Coalescer, Row
from gateway.rounds import Rounds
from gateway.traffic import Traffic
from gateway.types import Outcome, Question, SourceAnswer

QUESTION = Question(np.array([3], np.int64), np.ones(1, np.float32))
ANSWER = SourceAnswer("cf", Outcome.OK, QUESTION.history, QUESTION.history_weight)


def row(kind: str = "retrieve") -> Row:
    return Row(QUESTION, kind, 0.0, 1.0)


class Server:
    """Takes calls, keeps them until released, and answers every row."""

    def __init__(self) -> None:
        self.calls: list[list[Row]] = []
        self.cancelled = 0
        self.gate = asyncio.Semaphore(0)

    async def send(self, rows: list[Row]) -> None:
        self.calls.append(rows)
        try:
            await self.gate.acquire()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        for each in rows:
            each.resolve(ANSWER)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_source_at_rest_is_asked_at_once() -> None:
    server = Server()
    coalescer = Coalescer(server.send, Rounds(Traffic()), max_rows=8, max_calls=1)
    one = row()
    coalescer.add(one)
    await turns()
    assert server.calls == [[one]]


async def test_rows_that_come_meanwhile_share_the_next_call() -> None:
    server = Server()
    coalescer = Coalescer(server.send, Rounds(Traffic()), max_rows=8, max_calls=1)
    first, later = row(), [row() for _ in range(3)]
    coalescer.add(first)
    await turns()
    for each in later:
        coalescer.add(each)
    await turns()
    assert server.calls == [[first]]
    server.gate.release()
    await turns()
    assert server.calls == [[first], later]
    assert first.answer is ANSWER
    assert later[0].answer is None


async def test_enough_rows_are_sent_ahead_to_wait_at_the_server_and_no_more_after_them() -> None:
    server, traffic = Server(), Traffic()
    coalescer = Coalescer(server.send, Rounds(traffic), max_rows=8, max_calls=1)
    for _ in range(10):
        traffic.enter()
    first, ahead, waiting = [row() for _ in range(5)], [row() for _ in range(5)], [row(), row()]
    for part in (first, ahead[:4]):
        for each in part:
            coalescer.add(each)
        await turns()
    assert server.calls == [first]  # four of ten that are inside: the others may still join
    for each in (ahead[4], *waiting):
        coalescer.add(each)
        await turns()
    assert server.calls == [first, ahead]
    server.gate.release()
    await turns()
    assert first[0].answer is ANSWER
    # A server that has a call is sent no small one after it.
    assert server.calls == [first, ahead]


async def test_rows_of_one_turn_of_the_loop_ride_together() -> None:
    server = Server()
    coalescer = Coalescer(server.send, Rounds(Traffic()), max_rows=8, max_calls=1)
    rows = [row() for _ in range(3)]
    for each in rows:
        coalescer.add(each)
    await turns()
    assert server.calls == [rows]


async def test_a_call_holds_one_kind_and_no_more_than_fits() -> None:
    server = Server()
    coalescer = Coalescer(server.send, Rounds(Traffic()), max_rows=2, max_calls=9)
    kinds = "rrsrs"
    rows = [row(kind) for kind in kinds]
    for each in rows:
        coalescer.add(each)
    await turns()
    sent = [[rows.index(each) for each in call] for call in server.calls]
    assert sent == [[0, 1], [2, 4], [3]]


async def test_a_row_that_left_is_not_sent() -> None:
    server = Server()
    coalescer = Coalescer(server.send, Rounds(Traffic()), max_rows=8, max_calls=1)
    first, gone, stays = row(), row(), row()
    coalescer.add(first)
    await turns()
    coalescer.add(gone)
    coalescer.add(stays)
    gone.leave()
    server.gate.release()
    await turns()
    assert server.calls == [[first], [stays]]


async def test_a_call_ends_when_its_last_row_left_and_the_next_one_goes() -> None:
    server = Server()
    coalescer = Coalescer(server.send, Rounds(Traffic()), max_rows=8, max_calls=1)
    rows, waiting = [row(), row()], row()
    for each in rows:
        coalescer.add(each)
    await turns()
    coalescer.add(waiting)
    rows[0].leave()
    await turns()
    assert server.cancelled == 0
    rows[1].leave()
    await turns()
    assert server.cancelled == 1
    assert server.calls == [rows, [waiting]]


async def test_an_answer_is_given_once_and_not_to_those_who_left() -> None:
    told: list[str] = []
    stays, gone = row(), row()
    stays.tell = lambda: told.append("stays")
    gone.tell = lambda: told.append("gone")
    gone.leave()
    for _ in range(2):
        stays.resolve(ANSWER)
        gone.resolve(ANSWER)
    assert told == ["stays"]
    assert gone.answer is None


async def test_a_call_waits_for_half_of_those_inside_while_the_loop_is_at_work() -> None:
    server, traffic = Server(), Traffic()
    coalescer = Coalescer(server.send, Rounds(traffic), max_rows=8, max_calls=1)
    for _ in range(6):
        traffic.enter()
    rows = [row() for _ in range(4)]
    coalescer.add(rows[0])
    for each in rows[1:]:  # one a turn: the loop reads one request after the other
        await asyncio.sleep(0)
        assert not server.calls
        coalescer.add(each)
    await turns()
    assert server.calls == [rows[:3]]


async def test_a_loop_at_rest_sends_whatever_the_number_of_those_inside() -> None:
    server, traffic = Server(), Traffic()
    coalescer = Coalescer(server.send, Rounds(traffic), max_rows=8, max_calls=1)
    for _ in range(100):
        traffic.enter()
    one = row()
    coalescer.add(one)
    await turns()
    assert server.calls == [[one]]
