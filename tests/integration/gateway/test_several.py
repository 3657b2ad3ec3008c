"""Two gateways in processes of their own: one is killed, and no shopper notices."""

import json
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc

from benchmarks.valkey import running_valkey
from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.event_service_pb2_grpc import EventServiceStub
from plait.v1.recommendation_service_pb2 import RecommendRequest, Shopper
from plait.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from tests.integration.gateway.process import Gateway

# What docs/operations.md tells storefronts: every gateway has its turn, and where one is
# gone the next is asked.
CLIENT = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "plait.v1.RecommendationService"},
                     {"service": "plait.v1.EventService"}],
            "retryPolicy": {
                "maxAttempts": 4, "initialBackoff": "0.02s", "maxBackoff": "0.5s",
                "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}  # fmt: skip


class Storefront(threading.Thread):
    """Records an event and asks for a ranking, over and over; notes what failed."""

    def __init__(self, number: int, channel: grpc.Channel) -> None:
        super().__init__()
        self.number = number
        self.acknowledged: list[str] = []
        self.failed: list[str] = []
        self.stopping = threading.Event()
        self._events = EventServiceStub(channel)
        self._rankings = RecommendationServiceStub(channel)

    def run(self) -> None:
        while not self.stopping.is_set():
            name = f"{self.number}-{len(self.acknowledged)}"
            event = t.Event(
                event_id=name, user_id=f"w{self.number}", item_id="4",
                type=t.EVENT_TYPE_PURCHASE, market="m",
            )  # fmt: skip
            shopper = Shopper(user_id=f"w{self.number}", market="m")
            try:
                self._events.RecordEvents(RecordEventsRequest(events=[event]), timeout=5)
                self.acknowledged.append(name)
                request = RecommendRequest(shopper=shopper, surface=t.SURFACE_HOME)
                answer = self._rankings.Recommend(request, timeout=5)
                assert answer.items
            except grpc.RpcError as error:
                self.failed.append(f"{error.code()} {error.details()}")
            time.sleep(0.005)


def stored(directory: Path) -> list[str]:
    with closing(sqlite3.connect(directory / "state.sqlite")) as connection:
        query = "SELECT event_id FROM events WHERE event_id IS NOT NULL ORDER BY seq"
        return [row[0] for row in connection.execute(query)]


def channel(*gateways: Gateway) -> grpc.Channel:
    ports = ",".join(gateway.address for gateway in gateways)
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(CLIENT)),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    return grpc.insecure_channel(f"ipv4:{ports}", options=options)


def test_killing_a_gateway_loses_no_event_and_fails_no_request(
    directory: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(directory / "models", other / "models")
    with running_valkey(tmp_path / "valkey") as valkey:
        first = Gateway(directory, JOURNAL=valkey.url)
        second = Gateway(other, JOURNAL=valkey.url, PEERS=first.address)
        with channel(first, second) as calls:
            storefronts = [Storefront(number, calls) for number in range(4)]
            for storefront in storefronts:
                storefront.start()
            _more(storefronts, 200)
            first.kill()
            _more(storefronts, 200)
            port = first.address.rpartition(":")[2]
            first = Gateway(directory, JOURNAL=valkey.url, PORT=port, PEERS=second.address)
            _more(storefronts, 200)
            second.kill()
            _more(storefronts, 200)
            for storefront in storefronts:
                storefront.stopping.set()
            for storefront in storefronts:
                storefront.join()
        port = second.address.rpartition(":")[2]
        second = Gateway(other, JOURNAL=valkey.url, PORT=port, PEERS=first.address)
        for gateway in (first, second):
            gateway.process.terminate()
            assert gateway.process.wait() == 0
    assert [failure for storefront in storefronts for failure in storefront.failed] == []
    acknowledged = {name for storefront in storefronts for name in storefront.acknowledged}
    found = stored(directory)
    assert len(found) == len(set(found))
    assert set(found) == acknowledged
    assert stored(other) == found


def _more(storefronts: list[Storefront], count: int) -> None:
    """Wait until so many further events are acknowledged."""

    def done() -> int:
        return sum(len(storefront.acknowledged) for storefront in storefronts)

    wanted, end = done() + count, time.monotonic() + 60
    while done() < wanted:
        assert time.monotonic() < end, [storefront.failed[-1:] for storefront in storefronts]
        time.sleep(0.01)
