"""A shopper who is forgotten is a stranger in the next request, and nothing of them is left."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.valkey import Valkey
from plait.v1 import profile_service_pb2 as pb
from plait.v1 import types_pb2 as t
from plait.v1.profile_service_pb2_grpc import ProfileServiceStub
from tests.integration.gateway.journaled import (
    alone,
    both_hold,
    joined,
    record,
    stored,
    until,
    view,
)
from tests.integration.gateway.world import Shop, ids, open_shop


async def forget(shop: Shop, user: str) -> pb.DeleteProfileResponse:
    stub: Any = ProfileServiceStub(shop.channel)
    request = pb.DeleteProfileRequest(user_id=user)
    answer: pb.DeleteProfileResponse = await stub.DeleteProfile(request, timeout=10)
    return answer


async def known(shop: Shop, user: str) -> int:
    stub: Any = ProfileServiceStub(shop.channel)
    answer = await stub.GetProfile(pb.GetProfileRequest(user_id=user), timeout=10)
    count: int = answer.profile.activity.event_count
    return count


def lines(shop: Shop) -> list[dict[str, Any]]:
    log = shop.config.exposure_log
    assert log is not None
    return [json.loads(x) for x in log.read_text().splitlines() if not x.isspace()]


def left(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.glob("state.sqlite*"))


async def test_who_is_forgotten_is_a_stranger_in_the_next_request(shop: Shop) -> None:
    stranger = ids(await shop.recommend("nobody knows"))
    assert ids(await shop.recommend("ann")) != stranger
    assert (await forget(shop, "ann")).deleted_event_count == 3
    answer = await shop.recommend("ann")
    assert (ids(answer), answer.coverage.fallback) == (stranger, True)
    assert await known(shop, "ann") == 0
    assert (await forget(shop, "ann")).deleted_event_count == 0
    await record(shop, view(6, user="ann"))
    assert await known(shop, "ann") == 1, "what comes later counts"


async def test_nobody_else_is_forgotten(shop: Shop) -> None:
    await record(shop, view(2, user="ann"), view(3, user="anna"), view(4, user="an"))
    before = ids(await shop.recommend("anna"))
    await forget(shop, "ann")
    assert [await known(shop, user) for user in ("anna", "an")] == [1, 1]
    assert ids(await shop.recommend("anna")) == before


async def test_no_byte_of_them_is_left_in_the_file_and_the_log(directory: Path) -> None:
    async with open_shop(directory) as shop:
        events = [view(n, f"secret-{n}", user="ann-7F3A") for n in range(1, 40)]
        search = t.Event(user_id="ann-7F3A", type=t.EVENT_TYPE_SEARCH, query="secret soap")
        await record(shop, *events, search)
        for user in ("ann-7F3A", "bob"):
            shown = await shop.recommend(user, page_size=3)
            click = view(6, user=user)
            click.ranking_id = shown.ranking_id
            await record(shop, click)
        log = directory / "exposures.jsonl"

        async def written() -> bool:
            return log.exists() and len(log.read_text().splitlines()) == 4

        await until(written)
        size = log.stat().st_size
        answer = await forget(shop, "ann-7F3A")
        assert (answer.deleted_event_count, answer.deleted_exposure_count) == (41, 2)
        assert {line["user_id"] for line in lines(shop)} == {"bob"}
        assert log.stat().st_size == size, "whoever reads along keeps his place"
    assert not {word for word in (b"ann-7F3A", b"secret") if word in left(directory)}


async def test_later_pages_of_a_ranking_are_gone(shop: Shop) -> None:
    first = await shop.recommend("ann", page_size=5)
    await forget(shop, "ann")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shop.recommend("ann", page_size=5, page_token=first.next_page_token)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_ranking_in_the_making_is_made_again_as_a_strangers(shop: Shop) -> None:
    stranger = ids(await shop.recommend("nobody knows", page_size=5))
    cf = shop.sources["cf"]
    cf.delay = 0.3
    asked = len(cf.asked)
    making = asyncio.create_task(shop.recommend("ann", page_size=5))

    async def under_way() -> bool:
        return len(cf.asked) > asked

    await until(under_way)
    await forget(shop, "ann")
    first = await making
    assert (ids(first), first.coverage.fallback) == (stranger, True)
    token = first.next_page_token
    await shop.recommend("ann", page_size=5, page_token=token)
    assert {line["fallback"] for line in await shown_to(shop, "ann", 2)} == {True}


async def shown_to(shop: Shop, user: str, count: int) -> list[dict[str, Any]]:
    """The lines of the exposure log about a shopper, once there are so many."""

    async def written() -> bool:
        return len([line for line in lines(shop) if line["user_id"] == user]) >= count

    await until(written)
    return [line for line in lines(shop) if line["user_id"] == user]


async def test_numbering_goes_on_behind_the_newest_event(directory: Path) -> None:
    """Trends remember up to which event they have counted: none may have such a number again."""
    async with open_shop(directory) as shop:
        await record(shop, *(view(2, user="ann") for _ in range(5)))
        with closing(sqlite3.connect(shop.config.state)) as connection:
            (newest,) = connection.execute("SELECT max(seq) FROM events").fetchone()
        await forget(shop, "ann")
    async with open_shop(directory) as shop:
        await record(shop, view(3, user="bob"))
        with closing(sqlite3.connect(shop.config.state)) as connection:
            (later,) = connection.execute("SELECT max(seq) FROM events").fetchone()
        assert later == newest + 1


async def test_who_has_very_many_events_is_forgotten_too(shop: Shop) -> None:
    for _ in range(9):
        await record(shop, *(view(2, user="crowd") for _ in range(500)))
    assert (await forget(shop, "crowd")).deleted_event_count == 4_500
    assert await known(shop, "crowd") == 0


async def test_every_gateway_forgets(first: Shop, other: Path, valkey: Valkey) -> None:
    async with joined(other, first, valkey) as second:
        await record(first, view(2), view(3))
        await both_hold(2, first, second)
        for shop in (first, second):
            assert not (await shop.recommend("new")).coverage.fallback
        await until(lambda: has_lines(first, second))
        answer = await forget(second, "new")
        assert (answer.deleted_event_count, answer.deleted_exposure_count) == (2, 1)
        await both_hold(0, first, second)
        assert (await second.recommend("new")).coverage.fallback

        async def nothing_shown() -> bool:
            return not lines(first) and (await first.recommend("new")).coverage.fallback

        await until(nothing_shown)


async def has_lines(*shops: Shop) -> bool:
    await asyncio.sleep(0)
    return all(shop.config.exposure_log and shop.config.exposure_log.exists() for shop in shops)


async def test_who_was_away_forgets_before_it_serves(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    async with joined(other, first, valkey) as second:
        await record(first, view(2))
        await both_hold(1, first, second)
    await forget(first, "new")
    await record(first, view(4))
    async with alone(other, valkey) as second:
        assert len(stored(second)) == 1
        assert stored(second) == stored(first)


async def test_without_a_journal_nobody_is_forgotten_and_the_caller_is_told(
    first: Shop, valkey: Valkey
) -> None:
    await record(first, view(2))
    valkey.stop()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await forget(first, "new")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "not forgotten" in (refused.value.details() or "")
    assert len(stored(first)) == 1


@pytest.mark.parametrize("user", ["", " ", "x" * 129])
async def test_nobody_is_forgotten_without_a_name(shop: Shop, user: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await forget(shop, user)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "user_id" in (refused.value.details() or "")
