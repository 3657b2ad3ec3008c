"""Several gateways, each with a state file of its own, and one journal in a real Valkey."""

import asyncio
import json
import shutil
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from valkey import Valkey as Client

from benchmarks.valkey import Valkey, running_valkey
from plait.v1 import rollout_service_pb2 as pb
from plait.v1 import state_service_pb2 as state
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import DeleteItemsRequest, GetItemRequest, UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest, RecordEventsResponse
from plait.v1.rollout_service_pb2_grpc import RolloutServiceStub
from plait.v1.state_service_pb2_grpc import StateServiceStub
from services.runtime.config import Secret
from services.runtime.errors import StartError
from tests.integration.gateway.test_canaries import open_world
from tests.integration.gateway.test_store_trouble import overwrite_in_place
from tests.integration.gateway.world import Shop, ids, open_shop, publish_fusion
from tests.support.disks import Disk
from tests.unit.gateway.damage import pages_of, spoil


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with running_valkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def other(directory: Path, tmp_path: Path) -> Path:
    """A directory for a second gateway, with models and without a state."""
    (tmp_path / "other").mkdir()
    shutil.copytree(directory / "models", tmp_path / "other" / "models")
    return tmp_path / "other"


@pytest_asyncio.fixture
async def first(directory: Path, valkey: Valkey) -> AsyncIterator[Shop]:
    async with open_shop(directory, journal=Secret(valkey.url)) as running:
        yield running


def joined(other: Path, first: Shop, valkey: Valkey) -> AbstractAsyncContextManager[Shop]:
    """A second gateway, which knows where the first one is."""
    return alone(other, valkey, peers=f"127.0.0.1:{first.server.port}")


def alone(directory: Path, valkey: Valkey, **settings: Any) -> AbstractAsyncContextManager[Shop]:
    return open_shop(directory, journal=Secret(valkey.url), **settings)


async def record(shop: Shop, *events: t.Event) -> RecordEventsResponse:
    request = RecordEventsRequest(events=events)
    answer: RecordEventsResponse = await shop.events.RecordEvents(request, timeout=10)
    return answer


def view(item: int, event_id: str = "", user: str = "new") -> t.Event:
    return t.Event(
        event_id=event_id, user_id=user, item_id=str(item), type=t.EVENT_TYPE_VIEW, market="m"
    )


async def until(check: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < end, "it does not happen"
        await asyncio.sleep(0.02)


def stored(shop: Shop, user: str = "new") -> list[tuple[Any, ...]]:
    """The events of a shopper in one gateway's file, in the order it took them in."""
    with closing(sqlite3.connect(shop.config.state)) as connection:
        query = (
            "SELECT event_id, item_key, type, time_ms, quantity, price, market, query "
            "FROM events WHERE user_id = ? ORDER BY seq"
        )
        return connection.execute(query, (user,)).fetchall()


async def both_hold(count: int, *shops: Shop, user: str = "new") -> None:
    async def hold() -> bool:
        return all(len(stored(shop, user)) == count for shop in shops)

    await until(hold)


async def healthy(shop: Shop, name: str = "journal") -> bool:
    stub: Any = health_pb2_grpc.HealthStub(shop.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def refusal(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def forget(valkey: Valkey) -> None:
    """Have the journal forget all its entries, as it does with time."""
    with Client.from_url(valkey.url) as client:
        (stream,) = [k for k in client.scan_iter("plait:journal:*") if client.type(k) == b"stream"]
        client.xtrim(stream, maxlen=0, approximate=False)


async def test_a_new_gateway_copies_the_state_and_answers_as_the_first(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    await record(first, view(4, "e1", user="ann"))
    async with joined(other, first, valkey) as second:
        mine, theirs = await first.recommend("ann"), await second.recommend("ann")
        assert stored(second, "ann") == stored(first, "ann")
    assert len(ids(mine)) > 5
    assert ids(mine) == ids(theirs)
    assert names(other) <= {"models", "state.sqlite", "state.sqlite.lock", "exposures.jsonl"}


async def test_an_event_counts_at_every_gateway(first: Shop, other: Path, valkey: Valkey) -> None:
    async with joined(other, first, valkey) as second:
        before = await first.recommend("new")
        assert before.coverage.fallback  # nothing is known of this shopper
        assert (await record(second, view(2))).recorded_count == 1
        # At the gateway that took it, in the very next call.
        assert not (await second.recommend("new")).coverage.fallback
        await both_hold(1, first, second)
        answers = [await shop.recommend("new") for shop in (first, second)]
        assert ids(answers[0]) == ids(answers[1]) != ids(before)


async def test_all_of_an_event_arrives(first: Shop, other: Path, valkey: Valkey) -> None:
    search = t.Event(
        event_id="s1", user_id="new", type=t.EVENT_TYPE_SEARCH, query="soap, please", market="x"
    )
    buy = t.Event(
        user_id="new", item_id="no such", type=t.EVENT_TYPE_PURCHASE, quantity=2.5, price=3.25
    )
    buy.event_time.FromMilliseconds(1_700_000_000_123)
    async with joined(other, first, valkey) as second:
        answer = await record(second, search, buy)
        assert (answer.recorded_count, answer.unknown_item_count) == (2, 1)
        await both_hold(2, first, second)
        assert stored(first) == stored(second)
        assert stored(first)[1][3:6] == (1_700_000_000_123, 2.5, 3.25)
        assert stored(first)[0][7] == "soap, please"


async def test_one_event_id_through_two_gateways_is_one_event(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        answers = await asyncio.gather(
            *(record(shop, view(4, f"e{n}")) for n in range(50) for shop in (first, second))
        )
        assert sum(answer.recorded_count for answer in answers) == 50
        assert sum(answer.duplicate_count for answer in answers) == 50
        await both_hold(50, first, second)


async def test_gateways_agree_on_the_order_of_what_both_take(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        shops = (first, second)
        await asyncio.gather(
            *(record(shops[n % 2], view(1 + n % 60), view(1 + n * 7 % 60)) for n in range(150))
        )
        await both_hold(300, first, second)
        assert stored(first) == stored(second)
        answers = [await shop.recommend("new") for shop in shops]
        assert ids(answers[0]) == ids(answers[1])


async def test_the_catalogue_is_one(first: Shop, other: Path, valkey: Valkey) -> None:
    item = t.Item(
        item_id="new one", title="Quince jelly", text="of quinces", domain="GROCERY", price=2.5,
        category="JELLY", brand="b", attributes={"size": "3 OZ"}, provider="p", available=False,
    )  # fmt: skip
    async with joined(other, first, valkey) as second:
        made = await second.catalog.UpsertItems(UpsertItemsRequest(items=[item]))
        assert (made.created_count, made.updated_count) == (1, 0)
        ask = GetItemRequest(item_id="new one")

        async def there() -> bool:
            try:
                await first.catalog.GetItem(ask)
            except grpc.aio.AioRpcError:
                return False
            return True

        await until(there)
        found = [(await shop.catalog.GetItem(ask)).item for shop in (first, second)]
        assert found[0] == found[1]
        item.item_key = found[0].item_key
        assert found[0] == item
        for shop in (first, second):

            async def found_by_text(shop: Shop = shop) -> bool:
                rules = t.Rules(include_unavailable=True)
                return "new one" in ids(await shop.search("quince jelly", rules=rules))

            await until(found_by_text)

        gone = await first.catalog.DeleteItems(DeleteItemsRequest(item_ids=["new one", "never"]))
        assert (gone.deleted_count, gone.missing_count) == (1, 1)

        async def absent() -> bool:
            return not any(row for row in items_of(second) if row == "new one")

        await until(absent)
        assert (await refusal(second.catalog.GetItem(ask))).code() is grpc.StatusCode.NOT_FOUND


def items_of(shop: Shop) -> list[str]:
    with closing(sqlite3.connect(shop.config.state)) as connection:
        return [row[0] for row in connection.execute("SELECT item_id FROM items")]


async def test_a_click_is_logged_where_it_was_taken_and_nowhere_else(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        shown = await first.recommend("ann")
        click = view(6, user="ann")
        click.ranking_id = shown.ranking_id
        await record(second, click)

        async def logged() -> bool:
            return any("event" in line for line in exposures(second))

        await until(logged)
        assert not any("event" in line for line in exposures(first))


def exposures(shop: Shop) -> list[dict[str, Any]]:
    log = shop.config.exposure_log
    assert log is not None
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


async def test_without_valkey_shoppers_are_ranked_and_writes_refused_until_it_is_back(
    first: Shop, valkey: Valkey
) -> None:
    await record(first, view(4, "e1"))
    assert await healthy(first)
    valkey.stop()
    refused = await refusal(record(first, view(8, "e2")))
    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert "send them again" in str(refused.details())
    assert "grpc-retry-pushback-ms" in {key for key, _ in refused.trailing_metadata() or ()}
    assert len(ids(await first.recommend("new"))) > 5
    unwritten = await refusal(
        first.catalog.UpsertItems(UpsertItemsRequest(items=[t.Item(item_id="x", title="x")]))
    )
    assert unwritten.code() is grpc.StatusCode.UNAVAILABLE

    async def away() -> bool:
        return not await healthy(first)

    await until(away)
    assert await healthy(first, "")  # rankings need no writes
    valkey.start()

    async def back() -> bool:
        return await healthy(first)

    await until(back)
    assert (await record(first, view(8, "e2"))).recorded_count == 1
    assert [row[0] for row in stored(first)] == ["e1", "e2"]


async def test_who_was_away_has_what_was_recorded_meanwhile_before_it_serves(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        await record(second, view(2, "e1"))
    for start in range(0, 400, 20):
        part = range(start, start + 20)
        await asyncio.gather(*(record(first, view(1 + n % 60, f"n{n}")) for n in part))
    async with alone(other, valkey) as second:
        assert stored(second) == stored(first)
        await record(second, view(3, "last"))
        await both_hold(402, first, second)


async def test_a_start_without_valkey_serves_what_is_known_and_follows_once_it_is_there(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey):
        pass
    await record(first, view(4, "e1"))
    valkey.stop()
    async with alone(other, valkey) as second:
        assert len(ids(await second.recommend("ann"))) > 5
        assert (await refusal(record(second, view(8)))).code() is grpc.StatusCode.UNAVAILABLE
        valkey.start()
        await both_hold(1, second)


async def test_a_full_file_does_not_join_another_gateways_journal(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    with closing(sqlite3.connect(first.config.state)) as connection:
        connection.execute("VACUUM INTO ?", (str(other / "state.sqlite"),))
    with closing(sqlite3.connect(other / "state.sqlite")) as connection, connection:
        connection.execute("DELETE FROM progress")
    with pytest.raises(StartError, match="holds items or events"):
        async with joined(other, first, valkey):
            pass
    with closing(sqlite3.connect(other / "state.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (15,)


async def test_who_went_on_alone_does_not_come_back_with_what_no_other_knows(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey):
        pass
    async with open_shop(other) as second:
        await record(second, view(4))
    with pytest.raises(StartError, match="holds items or events"):
        async with joined(other, first, valkey):
            pass


async def test_a_file_of_another_journal_is_refused(
    first: Shop, other: Path, valkey: Valkey, tmp_path: Path
) -> None:
    async with joined(other, first, valkey):
        pass
    with running_valkey(tmp_path / "another") as another:
        Client.from_url(another.url).set("plait:journal", "7")
        with pytest.raises(StartError, match="belongs to another journal"):
            async with alone(other, another):
                pass


async def test_an_empty_file_needs_to_know_another_gateway(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    with pytest.raises(StartError, match="peers: required"):
        async with alone(other, valkey):
            pass


async def test_a_new_shop_begins_with_an_empty_file(other: Path, valkey: Valkey) -> None:
    async with alone(other, valkey) as only:
        assert (await record(only, view(4, "e1"))).recorded_count == 1
    async with alone(other, valkey) as only:
        assert (await record(only, view(4, "e1"))).duplicate_count == 1


async def test_a_gateway_that_knows_of_others_waits_for_one_to_begin(
    directory: Path, other: Path, valkey: Valkey
) -> None:
    port = free_port()

    async def later() -> list[tuple[Any, ...]]:
        async with alone(other, valkey, peers=f"127.0.0.1:{port}") as second:
            return stored(second, "ann")

    waiting = asyncio.create_task(later())
    await asyncio.sleep(0.3)
    assert not waiting.done()
    async with alone(directory, valkey, port=port) as first:
        assert await waiting == stored(first, "ann")


async def test_a_gateway_killed_as_it_began_the_journal_begins_it_again(
    directory: Path, valkey: Valkey
) -> None:
    async with alone(directory, valkey):
        pass
    with Client.from_url(valkey.url) as client:
        identity = client.get("plait:journal")
        client.delete("plait:journal")
    async with alone(directory, valkey) as again:
        assert (await record(again, view(4))).recorded_count == 1
    with Client.from_url(valkey.url) as client:
        assert client.get("plait:journal") == identity


async def test_a_state_is_given_to_gateways_of_the_journal_alone(first: Shop) -> None:
    for token in ("", "made up"):
        refused = await refusal(copy(first, token))
        assert refused.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_state_that_its_disk_has_no_room_to_copy_is_waited_for(
    disk: Disk, other: Path, valkey: Valkey
) -> None:
    async with alone(disk.root / "shop", valkey) as first:
        disk.fill()
        waiting = asyncio.create_task(whole(joined(other, first, valkey)))
        await asyncio.sleep(0.7)
        assert not waiting.done()
        assert not any("snapshot" in name for name in names(disk.root / "shop"))
        disk.free()
        assert await waiting == stored(first, "ann")


async def whole(opening: AbstractAsyncContextManager[Shop]) -> list[tuple[Any, ...]]:
    async with opening as shop:
        return stored(shop, "ann")


async def test_a_gateway_without_a_journal_gives_its_state_to_nobody(shop: Shop) -> None:
    assert (await refusal(copy(shop, "x"))).code() is grpc.StatusCode.FAILED_PRECONDITION


async def copy(shop: Shop, token: str) -> None:
    stub: Any = StateServiceStub(shop.channel)
    async for _ in stub.CopyState(state.CopyStateRequest(token=token)):
        pass


async def test_who_was_away_for_too_long_copies_a_state(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey):
        pass
    await record(first, view(4, "e1"))
    forget(valkey)
    async with joined(other, first, valkey) as second:
        assert stored(second) == stored(first)
        await record(second, view(8, "e2"))
        await both_hold(2, first, second)


async def test_with_nobody_to_copy_from_what_is_known_is_served_and_copied_later(
    first: Shop, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with joined(other, first, valkey):
        pass
    await record(first, view(4, "e1"))
    forget(valkey)
    monkeypatch.setattr("gateway.journal.joining._PATIENCE", 0.2)
    async with alone(other, valkey) as second:
        assert len(ids(await second.recommend("ann"))) > 5
        assert stored(second) == []
        await record(second, view(8, "e2"))
    async with joined(other, first, valkey) as second:
        assert [row[0] for row in stored(second)] == ["e1", "e2"]


async def test_an_entry_that_nobody_understands_is_passed_over(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        with Client.from_url(valkey.url) as client:
            stream = f"plait:journal:{client.get('plait:journal').decode()}"
            client.xadd(stream, {"by": b"x", "entry": b"\xff\xff"})
            client.xadd(stream, {"nothing": b"of ours"})
        await record(first, view(4, "e1"))
        await both_hold(1, first, second)


async def test_the_next_page_is_asked_anew_at_another_gateway(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    page = await first.recommend("ann", page_size=3)
    async with joined(other, first, valkey) as second:
        refused = await refusal(second.recommend("ann", page_token=page.next_page_token))
        assert refused.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "ask again without a token" in str(refused.details())


async def test_a_full_journal_lets_go_of_its_oldest_and_takes_the_new(
    first: Shop, valkey: Valkey
) -> None:
    await record(first, *(view(4, f"old {n}") for n in range(500)))
    with Client.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)
        stream = f"plait:journal:{client.get('plait:journal').decode()}"
        for _ in range(100):
            await record(first, *(view(4, f"{uuid4()}") for n in range(100)))
        assert client.xinfo_stream(stream)["entries-added"] == 101
        assert client.xlen(stream) < 101
    assert len(stored(first)) == 10_500


async def test_entries_stay_for_their_time_and_no_longer(
    directory: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.journal.stream._TRIM_SECONDS", 0.0)
    async with alone(directory, valkey, journal_minutes=1) as shop:
        with Client.from_url(valkey.url) as client:
            stream = f"plait:journal:{client.get('plait:journal').decode()}"
            for n in range(1, 301):  # long ago; whole pieces of a hundred go
                client.xadd(stream, {"by": b"x", "entry": b"x"}, id=f"{n}-0")
        await record(shop, view(4))
        with Client.from_url(valkey.url) as client:
            assert client.xlen(stream) <= 100


async def test_a_journal_that_lost_its_last_entries_is_gone_on_with(
    first: Shop, valkey: Valkey
) -> None:
    await record(first, view(4, "e1"))
    valkey.stop()
    valkey.wipe()
    valkey.start()

    async def recorded() -> bool:
        try:
            await record(first, view(8, "e2"))
        except grpc.aio.AioRpcError:
            return False
        return True

    await until(recorded)
    assert [row[0] for row in stored(first)] == ["e1", "e2"]


async def test_a_full_disk_holds_up_one_gateway_and_not_the_other(
    disk: Disk, other: Path, valkey: Valkey
) -> None:
    async with alone(disk.root / "shop", valkey) as first, joined(other, first, valkey) as second:
        disk.fill()
        taken = 0
        with pytest.raises(grpc.aio.AioRpcError, match="no event was recorded"):
            for number in range(5_000):
                await record(first, view(4, f"{number:04}"))
                taken += 1
        for number in range(5):
            assert (await record(second, view(8, f"n{number}"))).recorded_count == 1
        assert len(ids(await first.recommend("ann"))) > 5
        disk.free()

        async def even() -> bool:
            return stored(first) == stored(second)

        await until(even)
        found = [row[0] for row in stored(second)]
        assert len(found) == len(set(found)) in (taken + 5, taken + 6)  # its last may be in
        assert (await record(first, view(8, "last"))).recorded_count == 1


async def test_a_gateway_starts_on_a_full_disk_and_follows_once_there_is_room(
    disk: Disk, other: Path, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.journal.follower._START_SECONDS", 0.5)
    async with alone(disk.root / "shop", valkey) as first, joined(other, first, valkey):

        async def prepared() -> bool:
            return ".state.sqlite.reserve" in names(disk.root / "shop")

        await until(prepared)
    async with alone(other, valkey) as second:
        await record(second, view(4, "e1"))
        disk.fill()
        async with alone(disk.root / "shop", valkey) as first:
            assert len(ids(await first.recommend("ann"))) > 5
            disk.free()
            await both_hold(1, first, second)


async def test_a_damaged_file_gives_way_to_a_copy_and_is_kept(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        await record(second, view(4, "e1"))
    spoil(other / "state.sqlite", [1])
    async with joined(other, first, valkey) as second:
        assert stored(second) == stored(first)
        assert stored(second, "ann") == stored(first, "ann")
        assert (await record(second, view(8, "e2"))).recorded_count == 1
    assert any("damaged" in name for name in names(other))


async def test_a_repaired_file_goes_on_and_is_copied_at_the_next_start(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        await record(second, *(view(1 + n % 60, f"e{n}", user=f"u{n}") for n in range(500)))
    spoil(other / "state.sqlite", pages_of(other / "state.sqlite", "events")[1:3])
    await record(first, view(4, "last"))
    async with alone(other, valkey) as second:
        await both_hold(1, first, second)
        assert (await record(second, view(8, "later"))).recorded_count == 1
    async with joined(other, first, valkey) as second:
        assert everything(second) == everything(first)


def everything(shop: Shop) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(shop.config.state)) as connection:
        query = "SELECT event_id, user_id, item_key, type, market FROM events ORDER BY seq"
        return connection.execute(query).fetchall()


async def test_a_file_that_is_damaged_while_it_serves_goes_on_where_it_was(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        crowd = [view(1 + n % 60, f"e{n}", user=f"u{n}") for n in range(400)]
        await record(first, *crowd)
        state = directory / "state.sqlite"
        with closing(sqlite3.connect(state)) as outside:
            outside.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        overwrite_in_place(state, pages_of(state, "events_by_id")[:1])
        # Taken in once the file is repaired, by whoever got it first.
        await record(second, view(4, "e500"))
        await both_hold(1, first, second)

        async def well() -> bool:
            return await healthy(first, "store")

        await until(well)
        again = await record(first, *crowd, view(4, "e500"))
        assert (again.recorded_count, again.duplicate_count) == (0, 401)


async def rolled_out(shop: Shop) -> pb.GetRolloutsResponse:
    stub: Any = RolloutServiceStub(shop.channel)
    answer: pb.GetRolloutsResponse = await stub.GetRollouts(pb.GetRolloutsRequest())
    return answer


async def load_fusion(shop: Shop, **which: Any) -> None:
    stub: Any = RolloutServiceStub(shop.channel)
    await stub.LoadFusion(pb.LoadFusionRequest(**which))


def another_fusion(*directories: Path) -> None:
    """Publish a second version in the repository of each gateway."""
    for directory in directories:
        publish_fusion(directory / "models")


async def test_a_version_of_the_fusion_is_served_by_every_gateway(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    another_fusion(directory, other)
    async with joined(other, first, valkey) as second:
        await load_fusion(second, version=1)
        await agree(first, second)
        await load_fusion(first, version=2)

        async def changed() -> bool:
            return bool((await rolled_out(second)).fusion.version == 2)

        await until(changed)
        await load_fusion(second, previous=True)
        await agree(first, second)
        assert (await rolled_out(first)).fusion.version == 1


async def test_what_was_rolled_out_meanwhile_is_served_after_a_restart(
    first: Shop, directory: Path, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey):
        pass
    another_fusion(directory, other)
    await load_fusion(first, version=2)
    await load_fusion(first, previous=True)
    forget(valkey)
    async with joined(other, first, valkey) as second:
        assert await rolled_out(first) == await rolled_out(second)


async def test_a_gateway_that_lacks_a_version_goes_on_with_its_own(
    first: Shop, directory: Path, other: Path, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with joined(other, first, valkey) as second:
        another_fusion(directory)
        await load_fusion(first, version=2)

        async def said() -> bool:
            return "rollouts of another gateway not adopted" in caplog.text

        await until(said)
        assert (await rolled_out(second)).fusion.version == 1
        await record(first, view(4))
        await both_hold(1, first, second)


async def test_without_valkey_a_change_says_that_the_others_do_not_know(
    first: Shop, directory: Path, valkey: Valkey
) -> None:
    another_fusion(directory)
    valkey.stop()
    refused = await refusal(load_fusion(first, version=2))
    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert "do it again" in str(refused.details())
    assert (await rolled_out(first)).fusion.version == 2


async def test_a_canary_takes_the_same_shoppers_at_every_gateway(
    directory: Path, other: Path, valkey: Valkey
) -> None:
    async with open_world(directory, journal=Secret(valkey.url)) as world:
        await world.load(1)
        await world.load(2, beside=True)
        settings = {
            "sources": {}, "addresses": world.shop.config.sources, "item_encoders": (),
            "peers": f"127.0.0.1:{world.shop.server.port}", "contact_ms": 10_000,
        }  # fmt: skip
        async with alone(other, valkey, **settings) as second:
            canary = await world.canary(30)
            await agree(world.shop, second)
            assert list((await rolled_out(second)).canaries) == [canary]


async def agree(*shops: Shop) -> None:
    async def same() -> bool:
        one, another = [await rolled_out(shop) for shop in shops]
        return one == another

    await until(same)
