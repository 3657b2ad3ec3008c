"""A search finds by the query and orders by taste."""

import numpy as np

from tests.integration.gateway.world import Shop, ids, outcomes


async def test_a_search_finds_by_the_query_alone(shop: Shop) -> None:
    answer = await shop.search("yogurt number 6", page_size=5)
    assert {item.item.category for item in answer.items} == {"YOGURT"}
    asked = shop.sources["text"].asked[-1]
    assert asked["query"].tolist() == [[b"yogurt number 6"]]
    assert asked.get("history", np.zeros((1, 0))).size == 0
    assert outcomes(answer) == {
        "cf": "skipped", "content": "skipped", "sequence": "skipped", "text": "ok"
    }  # fmt: skip


async def test_models_that_know_the_shopper_score_what_was_found(shop: Shop) -> None:
    answer = await shop.search("soap", "bob")
    assert outcomes(answer) == dict.fromkeys(("cf", "content", "sequence", "text"), "ok")
    asked = shop.sources["cf"].asked[-1]
    found = shop.sources["text"].asked[-1]
    assert "candidates" not in found
    assert asked["candidates"].shape == (1, 60)
    assert asked["history"].tolist() == [[2, 8, 14]]


async def test_two_shoppers_get_the_same_search_in_different_order(shop: Shop) -> None:
    ann = await shop.search("number", "ann", page_size=60)
    bob = await shop.search("number", "bob", page_size=60)
    assert ids(ann) != ids(bob)
    assert sorted(ids(ann)) == sorted(ids(bob))


async def test_without_the_text_source_items_are_found_by_their_words(shop: Shop) -> None:
    await shop.sources["text"].stop()
    answer = await shop.search("Shampoos", "ann", page_size=5)
    assert outcomes(answer)["text"] == "error"
    assert answer.coverage.partial
    assert not answer.coverage.fallback
    assert {item.item.category for item in answer.items} == {"SHAMPOO"}
    assert len(answer.items) == 5


async def test_without_it_words_that_nothing_holds_give_trends(shop: Shop) -> None:
    await shop.sources["text"].stop()
    answer = await shop.search("xylophone", "ann")
    assert answer.items
    assert answer.coverage.fallback


async def test_an_explained_search_says_what_it_matched(shop: Shop) -> None:
    answer = await shop.search("soap", "bob", explain=True)
    assert answer.items[0].explanation.reason == 'Matches "soap"'


async def test_an_item_is_found_by_its_id_whether_the_text_source_answers_or_not(
    shop: Shop,
) -> None:
    wanted = ids(await shop.search("soap", "bob"))[-1]
    answer = await shop.search(f" {wanted} ", "bob", explain=True)
    assert ids(answer)[0] == wanted
    assert answer.items[0].explanation.reason == f'Matches "{wanted}"'
    await shop.sources["text"].stop()
    assert ids(await shop.search(wanted, "bob"))[0] == wanted
