"""What was acknowledged is on disk and counts in the very next request."""

from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
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


async def test_two_events_without_an_id_are_two_before_and_after_a_restart(directory: Path) -> None:
    when = Timestamp()
    when.GetCurrentTime()
    view = t.Event(user_id="carl", item_id="4", type=t.EVENT_TYPE_VIEW, event_time=when)
    told = []
    async with open_shop(directory) as shop:
        await shop.recommend("carl")  # from here on he is in memory
        for _ in range(2):
            done = await shop.events.RecordEvents(RecordEventsRequest(events=[view]))
            assert (done.recorded_count, done.duplicate_count) == (1, 0)
        await shop.recommend("carl")
        told.append(shop.sources["cf"].asked[-1]["history"].tolist())
        # What a request brings is one of them.
        await shop.recommend("carl", events=[view])
        told.append(shop.sources["cf"].asked[-1]["history"].tolist())
    async with open_shop(directory) as shop:
        await shop.recommend("carl")
        told.append(shop.sources["cf"].asked[-1]["history"].tolist())
    assert told == [[[4, 4]]] * 3
