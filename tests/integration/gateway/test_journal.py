"""Several gateways, each with a state file of its own, and one journal in a real Valkey."""

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc

from benchmarks.valkey import Valkey
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import DeleteItemsRequest, GetItemRequest, UpsertItemsRequest
from tests.integration.gateway.journaled import (
    alone,
    both_hold,
    items_of,
    joined,
    record,
    refusal,
    stored,
    until,
    view,
)
from tests.integration.gateway.world import Shop, ids


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


async def test_the_next_page_is_asked_anew_at_another_gateway(
    first: Shop, other: Path, valkey: Valkey
) -> None:
    page = await first.recommend("ann", page_size=3)
    async with joined(other, first, valkey) as second:
        refused = await refusal(second.recommend("ann", page_token=page.next_page_token))
        assert refused.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "ask again without a token" in str(refused.details())
