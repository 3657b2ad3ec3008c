"""kill -9 in the middle of a stream: nothing acknowledged is lost, nothing is stored twice."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import grpc

from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.event_service_pb2_grpc import EventServiceStub
from plait.v1.recommendation_service_pb2 import RecommendRequest, Shopper
from plait.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from tests.integration.gateway.process import Gateway

# 4 writers, each 25 calls of 20 events a second: 2,000 events/s, if the machine keeps up.
WRITERS, PER_CALL, PAUSE = 4, 20, 0.04


class Writer(threading.Thread):
    """Sends batches at a steady rate; an event_id stands twice in each."""

    def __init__(self, number: int, address: str) -> None:
        super().__init__()
        self.number = number
        self.address = address
        self.acknowledged: list[str] = []
        self.unsure: list[str] = []  # sent, but the answer never came

    def run(self) -> None:
        with grpc.insecure_channel(self.address) as channel:
            stub = EventServiceStub(channel)
            for call in range(10_000):
                ids = [f"{self.number}-{call}-{n}" for n in range(PER_CALL)]
                try:
                    answer = stub.RecordEvents(batch([*ids, ids[0]]))
                except grpc.RpcError:
                    self.unsure = ids
                    return
                assert (answer.recorded_count, answer.duplicate_count) == (PER_CALL, 1)
                self.acknowledged += ids
                time.sleep(PAUSE)


def batch(ids: list[str]) -> RecordEventsRequest:
    return RecordEventsRequest(
        events=[
            t.Event(
                event_id=i, user_id=f"w{i[0]}", item_id="4", type=t.EVENT_TYPE_PURCHASE, market="m"
            )
            for i in ids
        ]
    )


def stored(directory: Path) -> list[str]:
    with closing(sqlite3.connect(directory / "state.sqlite")) as connection:
        query = "SELECT event_id FROM events WHERE event_id IS NOT NULL ORDER BY seq"
        return [row[0] for row in connection.execute(query)]


def test_every_acknowledged_event_survives_kill_9_once(directory: Path) -> None:
    first = Gateway(directory)
    writers = [Writer(n, first.address) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    while sum(len(w.acknowledged) for w in writers) < 3_000:
        assert first.process.poll() is None
        time.sleep(0.01)
    first.kill()
    for writer in writers:
        writer.join()
    acknowledged = [i for w in writers for i in w.acknowledged]
    unsure = [i for w in writers for i in w.unsure]

    second = Gateway(directory)
    try:
        with grpc.insecure_channel(second.address) as channel:
            stub = EventServiceStub(channel)
            # As a client would that cannot know what arrived; it also repeats what did.
            again = stub.RecordEvents(batch(unsure))
            assert again.recorded_count + again.duplicate_count == len(unsure)
            known = stub.RecordEvents(batch(acknowledged[-900:]))
            assert (known.recorded_count, known.duplicate_count) == (0, 900)
            answer = RecommendationServiceStub(channel).Recommend(
                RecommendRequest(shopper=Shopper(user_id="w0"), surface=t.SURFACE_HOME)
            )
            assert answer.coverage.asked == 1  # there is a history to ask about
    finally:
        second.process.terminate()
        assert second.process.wait() == 0
    found = stored(directory)
    assert len(found) == len(set(found))
    assert set(found) == {*acknowledged, *unsure}
