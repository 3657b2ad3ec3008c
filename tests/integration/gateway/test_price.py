"""What a price weighs is the shopper's own, by what was bought before."""

from dataclasses import replace
from pathlib import Path

from artifacts.fusion import FusionSettings
from plait.v1 import types_pb2 as t
from tests.integration.gateway.test_fusion_versions import publish
from tests.integration.gateway.world import Shop, fusion, open_shop


async def costs(shop: Shop, user: str, *events: t.Event) -> list[float]:
    answer = await shop.recommend(user, explain=True, events=events)
    found = [{a.name: a.value for a in item.explanation.adjustments} for item in answer.items]
    assert found
    return [terms["cost"] for terms in found if "cost" in terms]


def bought(*items: int) -> list[t.Event]:
    return [t.Event(item_id=str(n), type=t.EVENT_TYPE_PURCHASE) for n in items]


async def test_the_dearer_costs_more_for_who_buys_cheap_and_less_for_who_buys_dear(
    directory: Path,
) -> None:
    publish(directory, replace(fusion(), settings=FusionSettings(w_cost_personal=0.5)))
    async with open_shop(directory) as shop:
        # ann has bought the three cheapest yogurts: a little is known of her.
        cheap = await costs(shop, "ann")
        assert min(cheap) < 0
        assert max(cheap) <= 0
        assert min(cheap) > -0.5 * 3 / 20
        # The dearest of their kinds tell the other way, with the very next request.
        dear = await costs(shop, "ann", *bought(55, 56, 57, 58, 59, 60))
        assert max(dear) > 0
        assert min(dear) >= 0


async def test_of_whom_nothing_is_known_the_price_weighs_what_it_weighs_for_all(
    directory: Path,
) -> None:
    own = FusionSettings(w_cost_personal=0.5)
    publish(directory, replace(fusion(), settings=own))
    async with open_shop(directory) as shop:
        assert await costs(shop, "nobody") == []
    publish(directory, replace(fusion(), settings=replace(own, w_cost=0.1)))
    async with open_shop(directory) as shop:
        found = await costs(shop, "nobody")
        assert min(found) >= -0.1
        assert max(found) <= 0
        assert min(found) < 0
