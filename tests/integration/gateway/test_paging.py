"""Pages of one ranking: nothing twice, nothing lost, nothing of somebody else."""

import base64
import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import RankRequest
from tests.integration.gateway.world import COUNT, Shop, ids, open_shop


async def turn(shop: Shop, sizes: list[int]) -> tuple[list[str], set[str]]:
    """Read a ranking to its end with pages of these sizes, again and again."""
    shown: list[str] = []
    rankings: set[str] = set()
    token = ""
    for number in range(200):
        answer = await shop.recommend("ann", page_size=sizes[number % len(sizes)], page_token=token)
        assert [i.position for i in answer.items] == list(
            range(len(shown) + 1, len(shown) + 1 + len(answer.items))
        )
        shown += ids(answer)
        rankings.add(answer.ranking_id)
        token = answer.next_page_token
        if not token:
            return shown, rankings
    raise AssertionError("no last page")


async def test_pages_of_any_size_make_up_the_same_ranking(shop: Shop) -> None:
    whole, _ = await turn(shop, [40])
    assert len(whole) == 60
    for sizes in ([1], [7], [20, 3, 11]):
        shown, rankings = await turn(shop, sizes)
        assert shown == whole
        assert len(rankings) == 1


async def test_a_ranking_stays_the_same_while_the_shop_moves_on(shop: Shop) -> None:
    first = await shop.recommend("ann", page_size=5)
    whole = ids(first)
    for source in shop.sources.values():
        await source.stop()
    event = t.Event(item_id="1", type=t.EVENT_TYPE_PURCHASE)
    token = first.next_page_token
    while token:
        answer = await shop.recommend("ann", page_token=token, page_size=9, events=[event])
        assert [s.outcome for s in answer.sources] == [s.outcome for s in first.sources]
        whole += ids(answer)
        token = answer.next_page_token
    assert len(whole) == len(set(whole)) == 60


async def test_what_was_bought_since_is_on_no_later_page_of_who_wants_it_left_out(
    shop: Shop,
) -> None:
    rules = t.Rules(exclude_purchased=True)
    whole = ids(await shop.recommend("ann", page_size=40, rules=rules))
    for wanted in (rules, t.Rules()):
        first = await shop.recommend("ann", page_size=5, rules=wanted)
        buys = [
            t.Event(user_id="ann", item_id=whole[8], type=t.EVENT_TYPE_PURCHASE),
            t.Event(user_id="ann", item_id=whole[9], type=t.EVENT_TYPE_PURCHASE),
        ]
        await shop.events.RecordEvents(RecordEventsRequest(events=buys[:1]))
        token = first.next_page_token
        later = ids(
            await shop.recommend(
                "ann", page_size=40, page_token=token, rules=wanted, events=buys[1:]
            )
        )
        assert (whole[8] in later, whole[9] in later) == (wanted != rules,) * 2


async def lengthen(shop: Shop, size: int) -> None:
    """Give every card some `size` thousand characters."""
    more = {f"name {n}": "x" * 1_000 for n in range(size)}
    items = [
        t.Item(item_id=str(n), title=f"Item {n}", price=1, attributes=more)
        for n in range(1, COUNT + 1)
    ]
    for start in range(0, COUNT, 30):
        await shop.catalog.UpsertItems(UpsertItemsRequest(items=items[start : start + 30]))


@pytest.mark.parametrize("explain", [False, True])
async def test_a_page_of_long_cards_ends_where_clients_take_no_more_and_its_token_goes_on(
    directory: Path, explain: bool
) -> None:
    async with open_shop(directory) as shop:
        await lengthen(shop, 90)
        shown: list[str] = []
        token, pages = "", 0
        while token or not pages:
            answer = await shop.recommend(page_size=200, page_token=token, explain=explain)
            assert [i.position for i in answer.items] == [
                *range(len(shown) + 1, len(shown) + 1 + len(answer.items))
            ]
            shown, token, pages = shown + ids(answer), answer.next_page_token, pages + 1
        assert len(shown) == len(set(shown)) == COUNT
        assert pages == 2
    log = (directory / "exposures.jsonl").read_text().splitlines()
    noted = [i for line in log for i in json.loads(line)["item_ids"]]
    assert noted == shown


async def test_a_list_of_long_cards_keeps_its_places_and_leaves_out_the_last_cards(
    shop: Shop,
) -> None:
    await lengthen(shop, 90)
    every = [str(n) for n in range(1, COUNT + 1)]
    answer = await shop.recommendations.Rank(RankRequest(item_ids=every))
    assert sorted(ids(answer), key=int) == every
    carded = [i.HasField("item") for i in answer.items]
    assert carded == sorted(carded, reverse=True)
    assert 40 < sum(carded) < COUNT
    assert all(i.item_key for i in answer.items)


async def test_what_was_sold_out_or_disliked_since_is_on_no_later_page(shop: Shop) -> None:
    whole = ids(await shop.recommend("ann", page_size=40))
    first = await shop.recommend("ann", page_size=5)
    everything = t.Rules(include_unavailable=True)
    other = await shop.recommend("ann", page_size=5, rules=everything)
    recorded, said, sold_out = whole[6], whole[8], whole[10]
    dislike = t.Event(user_id="ann", item_id=recorded, type=t.EVENT_TYPE_DISLIKE)
    await shop.events.RecordEvents(RecordEventsRequest(events=[dislike]))
    gone = t.Item(item_id=sold_out, title="Sold out", available=False)
    await shop.catalog.UpsertItems(UpsertItemsRequest(items=[gone]))
    events = [t.Event(item_id=said, type=t.EVENT_TYPE_DISLIKE)]
    second = await shop.recommend(
        "ann", page_size=10, page_token=first.next_page_token, events=events
    )
    out = {recorded, said, sold_out}
    assert ids(second) == [item_id for item_id in whole if item_id not in out][5:15]
    assert [item.position for item in second.items][0::9] == [6, 18]
    more = await shop.recommend(
        "ann", page_size=200, page_token=other.next_page_token, rules=everything
    )
    assert sold_out in ids(more)
    assert recorded not in ids(more)


async def refused(shop: Shop, **fields: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.recommend(**fields)  # type: ignore[arg-type]
    return caught.value


async def test_a_changed_token_is_refused(shop: Shop) -> None:
    token = (await shop.recommend("ann", page_size=5)).next_page_token
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1
        error = await refused(
            shop, user="ann", page_token=base64.urlsafe_b64encode(changed).decode().rstrip("=")
        )
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert (error.details() or "").startswith("page_token: ")


async def test_a_token_is_good_for_its_request_only(shop: Shop) -> None:
    token = (await shop.recommend("ann", page_size=5)).next_page_token
    for other in (
        {"user": "bob"},
        {"user": "ann", "surface": t.SURFACE_SESSION},
        {"user": "ann", "rules": t.Rules(min_price=1)},
        {"user": "ann", "explain": True},
    ):
        error = await refused(shop, page_token=token, **other)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, other


async def test_a_ranking_that_is_no_longer_kept_is_said_to_be_gone(directory: Path) -> None:
    async with open_shop(directory, max_rankings=2) as shop:
        tokens = [(await shop.recommend("ann", page_size=5)).next_page_token for _ in range(3)]
        error = await refused(shop, user="ann", page_token=tokens[0])
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "ask again" in (error.details() or "")
        assert (await shop.recommend("ann", page_token=tokens[2])).items


async def test_an_explained_ranking_is_explained_on_every_page(shop: Shop) -> None:
    first = await shop.recommend("ann", page_size=5, explain=True)
    second = await shop.recommend(
        "ann", page_size=5, explain=True, page_token=first.next_page_token
    )
    assert all(item.explanation.reason for item in second.items)


async def test_later_pages_give_the_reasons_of_the_moment_their_order_is_from(shop: Shop) -> None:
    def reasons(answer: Any) -> dict[str, str]:
        return {item.item_id: item.explanation.reason for item in answer.items}

    whole = reasons(await shop.recommend("new", page_size=60, explain=True))
    assert {"Trending now", "Popular with other shoppers"} <= set(whole.values())
    first = await shop.recommend("new", page_size=5, explain=True)
    # All sell at once before the shopper turns the page.
    bought = [
        t.Event(user_id="bob", item_id=str(n), type=t.EVENT_TYPE_PURCHASE, market="m")
        for n in range(1, COUNT + 1)
        for _ in range(9)
    ]
    await shop.events.RecordEvents(RecordEventsRequest(events=bought))
    second = await shop.recommend(
        "new", page_size=50, explain=True, page_token=first.next_page_token
    )
    shown = reasons(second)
    assert len(shown) > 10
    assert shown == {item_id: whole[item_id] for item_id in shown}
