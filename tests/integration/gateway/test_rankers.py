"""Each surface has its own learned ranker, read from the artifact that the gateway serves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from artifacts import layout
from artifacts.fusion import NETWORK, FusionArtifact, FusionSettings, save
from artifacts.ranker.features import HABITS, names
from artifacts.ranker.network import Network
from artifacts.ranker.ranker import LearnedRanker
from plait.v1 import types_pb2 as t
from plait.v1.catalog_service_pb2 import UpsertItemsRequest
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.manifest_pb2 import Manifest
from tests.integration.gateway.fakes import FakeSource
from tests.integration.gateway.world import SOURCES, fusion, open_shop, vectors

RANKED = ("HOME", "SESSION", "CART", "SEARCH")
# No model names this item; ann has bought it.
UNNAMED = 6


def network(seed: int) -> Network:
    rng, width = np.random.default_rng(seed), len(names(SOURCES))

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    first, last = drawn(width, 4), drawn(4, 1)
    return Network(drawn(width), np.abs(drawn(width)), (first, last), (drawn(4), drawn(1)))


def with_rankers() -> FusionArtifact:
    plain = fusion()
    habits = np.zeros((len(plain.item_keys), len(HABITS)), np.float32)

    def ranker(seed: int) -> LearnedRanker:
        return LearnedRanker(
            SOURCES, network(seed), 0.0, 5.0, plain.item_keys, habits, habits[0], alone=True
        )  # fmt: skip

    rankers = {surface: ranker(number) for number, surface in enumerate(RANKED)}
    return replace(plain, settings=FusionSettings(ranker=NETWORK), rankers=rankers)


@pytest.fixture
def ranked(directory: Path) -> Path:
    """A prepared shop whose newest artifact has rankers."""
    with layout.publish(directory / "models", "fusion") as (home, version):
        save(home, with_rankers(), Manifest(version=version))
    return directory


def forgetful() -> dict[str, FakeSource]:
    known = {key: vector for key, vector in vectors().items() if key != UNNAMED}
    return {name: FakeSource(name, known, reads_text=name == "text") for name in SOURCES}


def looked_at(key: int) -> t.Event:
    return t.Event(item_id=str(key), type=t.EVENT_TYPE_VIEW)


ASKED: dict[str, dict[str, Any]] = {
    "HOME": {"surface": t.SURFACE_HOME},
    "SESSION": {"surface": t.SURFACE_SESSION, "events": [looked_at(12)]},
    "CART": {"surface": t.SURFACE_CART, "item_ids": ["12", "18"]},
    "ITEM": {"surface": t.SURFACE_ITEM, "item_ids": ["12"]},
}


@pytest.mark.parametrize("surface", [*ASKED, "SEARCH"])
async def test_a_surface_is_ranked_by_its_own_ranker_and_explained_to_the_last_digit(
    ranked: Path, surface: str
) -> None:
    async with open_shop(ranked) as shop:
        if surface == "SEARCH":
            answer: Any = await shop.search("yogurt number", "ann", page_size=20, explain=True)
        else:
            answer = await shop.recommend("ann", page_size=20, explain=True, **ASKED[surface])
    assert answer.items
    for item in answer.items:
        told = item.explanation
        parts = [c.value for c in told.contributions] + [a.value for a in told.adjustments]
        assert sum(parts) == pytest.approx(item.score, abs=1e-5)
        learned = "habits" in {a.name for a in told.adjustments}
        assert learned is (surface in RANKED)
        assert learned is all(c.weight == 0 for c in told.contributions)


async def test_a_later_page_is_explained_by_what_the_ranking_was_made_of(ranked: Path) -> None:
    async with open_shop(ranked) as shop:
        first = await shop.recommend("ann", page_size=5, explain=True)
        # The market moves, and prices change, before the shopper turns the page.
        bought = [
            t.Event(user_id="bob", item_id=str(n), type=t.EVENT_TYPE_PURCHASE, market="m")
            for n in range(1, 61)
            for _ in range(9)
        ]
        await shop.events.RecordEvents(RecordEventsRequest(events=bought))
        dear = [t.Item(item_id=str(n), title="else", price=90 + n) for n in range(1, 61)]
        await shop.catalog.UpsertItems(UpsertItemsRequest(items=dear))
        token = first.next_page_token
        second = await shop.recommend("ann", page_size=50, explain=True, page_token=token)
    assert len(second.items) > 10
    for item in (*first.items, *second.items):
        told = item.explanation
        parts = [c.value for c in told.contributions] + [a.value for a in told.adjustments]
        assert sum(parts) == pytest.approx(item.score, abs=1e-5)


async def test_two_surfaces_order_the_same_candidates_in_their_own_way(ranked: Path) -> None:
    async with open_shop(ranked) as shop:
        answers = [
            await shop.recommend("new", page_size=20, events=[looked_at(12)], surface=surface)
            for surface in (t.SURFACE_HOME, t.SURFACE_SESSION)
        ]
    home, session = ([item.item_id for item in answer.items] for answer in answers)
    assert home != session


async def test_what_was_had_before_is_a_candidate_on_home_and_nowhere_else(ranked: Path) -> None:
    async with open_shop(ranked, sources=forgetful()) as shop:
        home = await shop.recommend("ann", page_size=60)
        begun = [looked_at(12), looked_at(UNNAMED)]
        session = await shop.recommend("ann", page_size=40, surface=t.SURFACE_SESSION, events=begun)
        searched = await shop.search("yogurt number", "ann", page_size=40)
    shown = [{item.item_id for item in answer.items} for answer in (home, session, searched)]
    assert [str(UNNAMED) in items for items in shown] == [True, False, False]


async def test_what_holds_all_of_several_words_is_found_first(ranked: Path) -> None:
    async with open_shop(ranked) as shop:
        few = await shop.search("yogurt number", "ann", page_size=40, explain=True)
        title = await shop.search("yogurt number 54", "ann", page_size=40, explain=True)
        buried = t.Rules(bury_item_ids=["54"], pin_item_ids=["12"])
        pinned = await shop.search("number 54 YOGURTS", "ann", page_size=40, rules=buried)
    assert few.items[0].item_id != "54", "the ranker thinks little of it"
    assert [item.item_id for item in title.items if "words" in item.explanation.rules] == ["54"]
    assert title.items[0].item_id == "54"
    assert not any("words" in item.explanation.rules for item in few.items)
    shown = [item.item_id for item in pinned.items]
    assert shown[0] == "12"
    assert "54" not in shown, "it is behind all others"


async def test_where_the_weighted_sum_takes_over_its_other_terms_do_as_well(ranked: Path) -> None:
    async with open_shop(ranked) as shop:
        usual = await shop.search("yogurt number", page_size=5, explain=True)
        # Only the words of the catalogue are left, which the ranker knows nothing of.
        shop.sources["text"].status = grpc.StatusCode.INTERNAL
        alone = await shop.search("yogurt number", page_size=5, explain=True)
    names = [
        {a.name for item in answer.items for a in item.explanation.adjustments}
        for answer in (usual, alone)
    ]
    assert ["habits" in found for found in names] == [True, False]
    assert ["trend" in found for found in names] == [False, True]


async def test_a_stranger_without_a_session_is_ranked_too(ranked: Path) -> None:
    async with open_shop(ranked) as shop:
        searched = await shop.search("yogurt number", page_size=10, explain=True)
        empty = await shop.recommend("nobody", page_size=10, surface=t.SURFACE_SESSION)
    assert {a.name for a in searched.items[0].explanation.adjustments} >= {"habits"}
    # No source has anything to say: what sells is shown.
    assert len(empty.items) == 10


async def test_with_every_model_down_habits_still_rank_and_say_so(ranked: Path) -> None:
    async with open_shop(ranked) as shop:
        for source in shop.sources.values():
            source.status = grpc.StatusCode.INTERNAL
        ann = await shop.recommend("ann", page_size=60, explain=True)
        stranger = await shop.recommend("nobody", page_size=20, explain=True)
    for answer, term in ((ann, "habits"), (stranger, "fallback")):
        assert len(answer.items) >= 20
        assert answer.coverage.fallback
        assert answer.coverage.answered == 0
        for item in answer.items:
            told = {a.name: a.value for a in item.explanation.adjustments}
            assert term in told
            assert sum(told.values()) == pytest.approx(item.score, abs=1e-5)
    reasons = {item.explanation.reason for item in ann.items}
    assert reasons & {"You bought this before", "You looked at this before"}
