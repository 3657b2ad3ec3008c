"""What was acknowledged is on disk and counts in the very next request."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.event_service_pb2_grpc import EventServiceStub
from plait.v1.recommendation_service_pb2 import RecommendRequest, Shopper
from plait.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from tests.integration.gateway.world import Shop, ids, open_shop


def bought(user: str, item: str, event_id: str = "") -> t.Event:
    return t.Event(user_id=user, item_id=item, type=t.EVENT_TYPE_PURCHASE, event_id=event_id)


async def test_an_event_counts_in_the_very_next_request(shop: Shop) -> None:
    for user in ("carl", "ann"):  # one the gateway has never read, one it holds in memory
        await shop.recommend(user)
        done = await shop.events.RecordEvents(RecordEventsRequest(events=[bought(user, "4")]))
        assert (done.recorded_count, done.duplicate_count) == (1, 0)
        await shop.recommend(user)
        assert shop.sources["cf"].asked[-1]["history"][0, -1] == 4
    answer = await shop.recommend("carl", page_size=3)
    assert {item.item.category for item in answer.items} == {"APPLES"}


async def test_a_retry_changes_nothing_and_is_counted(shop: Shop) -> None:
    request = RecordEventsRequest(events=[bought("carl", "4", "order-1/4")])
    assert (await shop.events.RecordEvents(request)).recorded_count == 1
    again = await shop.events.RecordEvents(request)
    assert (again.recorded_count, again.duplicate_count) == (0, 1)
    await shop.recommend("carl", events=[bought("", "4", "order-1/4")])
    assert shop.sources["cf"].asked[-1]["history"].tolist() == [[4]]


async def test_events_about_unknown_items_are_kept_and_counted(shop: Shop) -> None:
    search = t.Event(user_id="carl", type=t.EVENT_TYPE_SEARCH, query="soap")
    request = RecordEventsRequest(events=[bought("carl", "nothing"), search])
    done = await shop.events.RecordEvents(request)
    assert (done.recorded_count, done.unknown_item_count) == (2, 1)
    answer = await shop.recommend("carl")
    assert answer.items


async def test_events_move_the_trends_of_their_market(shop: Shop) -> None:
    crowd = [bought(f"c{n}", "59") for n in range(30)]
    for event in crowd:
        event.market = "elsewhere"
    await shop.events.RecordEvents(RecordEventsRequest(events=crowd))
    assert ids(await shop.recommend("nobody", market="elsewhere"))[0] == "59"
    assert ids(await shop.recommend("nobody", market="m"))[0] == "33"


async def test_events_survive_a_restart_with_the_trends_they_made(directory: Path) -> None:
    crowd = [bought(f"c{n}", "59") for n in range(30)] + [bought("carl", "4", "once")]
    async with open_shop(directory) as shop:
        await shop.events.RecordEvents(RecordEventsRequest(events=crowd))
    async with open_shop(directory) as shop:
        await shop.recommend("carl")
        assert shop.sources["cf"].asked[-1]["history"].tolist() == [[4]]
        assert ids(await shop.recommend("nobody", market="new"))[0] == "59"
        again = await shop.events.RecordEvents(RecordEventsRequest(events=crowd[-1:]))
        assert again.duplicate_count == 1


async def test_the_order_of_a_history_is_the_order_of_its_times(shop: Shop) -> None:
    now = Timestamp()
    now.GetCurrentTime()
    late = bought("carl", "1")
    late.event_time.CopyFrom(now)
    early = bought("carl", "2")
    early.event_time.FromSeconds(now.seconds - 3600)
    await shop.events.RecordEvents(RecordEventsRequest(events=[late, early]))
    await shop.recommend("carl")
    assert shop.sources["cf"].asked[-1]["history"].tolist() == [[2, 1]]


class Gateway:
    """`python -m gateway` in a process of its own, without sources."""

    def __init__(self, directory: Path) -> None:
        settings = {
            "PORT": "0", "METRICS_PORT": "0", "REPOSITORY": directory / "models",
            "STATE": directory / "state.sqlite", "SOURCES": "cf=127.0.0.1:9",
            "ITEM_ENCODERS": "", "EXPOSURE_LOG": "", "CONTACT_MS": "0",
        }  # fmt: skip
        plain = {k: v for k, v in os.environ.items() if not k.startswith("PLAIT_")}
        log = directory / "gateway.log"
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway"],
                env={**plain, **{f"PLAIT_GATEWAY_{k}": str(v) for k, v in settings.items()}},
                stderr=output,
            )
        while '"serving"' not in log.read_text():
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.02)
        line = next(line for line in log.read_text().splitlines() if '"serving"' in line)
        self.address = json.loads(line)["address"]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def test_every_acknowledged_event_survives_kill_9(directory: Path) -> None:
    first = Gateway(directory)
    acknowledged: list[str] = []
    enough = threading.Event()

    def write(writer: int) -> None:
        with grpc.insecure_channel(first.address) as channel:
            stub = EventServiceStub(channel)
            for n in range(10_000):
                event_id = f"{writer}-{n}"
                try:
                    stub.RecordEvents(
                        RecordEventsRequest(events=[bought(f"w{writer}", "4", event_id)])
                    )
                except grpc.RpcError:
                    return
                acknowledged.append(event_id)
                if len(acknowledged) > 150:
                    enough.set()

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    assert enough.wait(30)
    first.kill()
    for writer in writers:
        writer.join()

    second = Gateway(directory)
    try:
        with grpc.insecure_channel(second.address) as channel:
            retries = [bought(f"w{i.split('-')[0]}", "4", i) for i in acknowledged]
            stub = EventServiceStub(channel)
            done = stub.RecordEvents(RecordEventsRequest(events=retries[:1000]))
            assert done.duplicate_count == len(retries[:1000])
            assert done.recorded_count == 0
            answer = RecommendationServiceStub(channel).Recommend(
                RecommendRequest(shopper=Shopper(user_id="w0"), surface=t.SURFACE_HOME)
            )
            assert answer.coverage.asked == 1  # there is a history to ask about
    finally:
        second.process.terminate()
        assert second.process.wait() == 0
