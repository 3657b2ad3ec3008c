"""Steps 1 to 4: home, an event, a newcomer, similar items and a cart."""

import time

from cli.demo.walk import Walk, changed, changes, product, require
from cli.rankings import items_table, ranking_view
from plait.v1 import types_pb2 as t
from plait.v1.event_service_pb2 import RecordEventsRequest
from plait.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse, Shopper


def home(walk: Walk) -> None:
    """Step 1: what a household sees first."""
    walk.heading(
        1,
        f"home recommendations for household {walk.cast.household}",
        "Look for: the share each model has in every item (a line adds up to 100, or to 0 where"
        " the household's habits alone speak for it), and the reason.",
    )
    walk.say("Its last purchases: " + "; ".join(p.title for p in walk.cast.last_bought) + ".")
    walk.say("Groceries are bought again and again:")
    again = walk.home(walk.cast.household, explain=True)
    walk.out.print(items_table(again.items[:5], explain=True))
    walk.say("The same call with the rule to leave out what the household bought before:")
    answer = walk.home(walk.cast.household, explain=True, new=True)
    walk.out.print(ranking_view(answer, explain=True))
    for item in (*again.items, *answer.items):
        shares = sum(c.share for c in item.explanation.contributions)
        spoke = any(c.value > 0 for c in item.explanation.contributions)
        require(
            abs(shares - spoke) < 1e-3, f"the shares of item {item.item_id} sum to {shares:.4f}"
        )
        require(item.explanation.reason, f"item {item.item_id} has no reason")
    require(len(answer.items) == 10, f"{len(answer.items)} items came where 10 were asked for")
    require(not answer.coverage.partial, "a model is missing from the answer")


def purchase(walk: Walk) -> None:
    """Step 2: an event counts in the very next answer."""
    user, bought = walk.cast.household, walk.cast.purchase
    walk.heading(
        2,
        f"household {user} buys what it never bought before",
        f"Look for: what a purchase of {product(bought)} changes in the same call, and how soon.",
    )
    before, next_before = walk.home(user, explain=True, new=True), walk.session(user)
    event = t.Event(
        user_id=user,
        item_id=bought.item_id,
        type=t.EVENT_TYPE_PURCHASE,
        market=walk.cast.market,
    )
    began = time.perf_counter()
    walk.gateway.call(walk.gateway.events.RecordEvents, RecordEventsRequest(events=[event]))
    acknowledged = time.perf_counter()
    after = walk.home(user, explain=True, new=True)
    answered = time.perf_counter()
    next_after = walk.session(user)
    walk.out.print(changes(before.items, after.items))
    count = changed(before.items, after.items)
    walk.say(
        f"{1000 * (answered - began):.1f} ms from sending the event to the changed answer "
        f"({1000 * (acknowledged - began):.1f} ms of it until the event was safely kept); "
        f"{count} of {len(after.items)} places changed."
    )
    asked = (before, after, next_before, next_after)
    late = any(answer.coverage.partial for answer in asked)
    require(not late, "a model was late, so the comparison says nothing; try again")
    require(count > 0, f"nothing changed after the purchase of {product(bought)}")
    _session(walk, next_before, next_after)


def _session(walk: Walk, before: RecommendResponse, after: RecommendResponse) -> None:
    """The other half of step 2: one purchase in a year moves home a little, a session a lot."""
    category = walk.cast.purchase.category
    walk.say("What to see next in this session (surface SESSION), the first five:")
    walk.out.print(items_table(after.items[:5], explain=True))
    were, are = _of_category(before, category), _of_category(after, category)
    walk.say(f"{category}: {are} of {len(after.items)} items, before the purchase {were}.")
    require(are > were, f"a session that bought {category} is shown no more of it")


def newcomer(walk: Walk) -> None:
    """Step 3: three events in the request are enough."""
    seen = walk.cast.newcomer
    walk.heading(
        3,
        "a shopper nobody has seen before",
        "Look for: three events sent inside the request, nothing stored, and what they bring.",
    )
    kinds = (t.EVENT_TYPE_VIEW, t.EVENT_TYPE_CART, t.EVENT_TYPE_CART)
    for kind, item in zip(kinds, seen, strict=True):
        word = t.EventType.Name(kind).removeprefix("EVENT_TYPE_").lower()
        walk.say(f"  {word:5} {product(item)}")
    shopper = Shopper(
        user_id="first-visit",
        market=walk.cast.market,
        events=[t.Event(item_id=p.item_id, type=k) for k, p in zip(kinds, seen, strict=True)],
    )
    answer = walk.recommend(RecommendRequest(shopper=shopper, surface=t.SURFACE_HOME, explain=True))
    walk.out.print(ranking_view(answer, explain=True))
    stranger = walk.home("another-first-visit")
    category = seen[0].category
    now, without = _of_category(answer, category), _of_category(stranger, category)
    walk.say(
        f"{now} of {len(answer.items)} are {category}; without the events it would be {without}."
    )
    require(now > without, f"three events about {category} brought no more of it")


def related(walk: Walk) -> None:
    """Step 4: similar items, and what goes with a cart."""
    cast = walk.cast
    walk.heading(
        4,
        "similar items, and what goes with a cart",
        "Look for: what could be taken instead in the first table, besides in the second.",
    )
    walk.say(f"Similar to {product(cast.similar_to)}:")
    similar = walk.recommend(
        RecommendRequest(surface=t.SURFACE_ITEM, item_ids=[cast.similar_to.item_id], explain=True)
    )
    walk.out.print(ranking_view(similar, explain=True))
    walk.say("Goes with a cart of " + ", ".join(product(item) for item in cast.cart) + ":")
    cart_ids = list(dict.fromkeys(item.item_id for item in cast.cart))
    cart = walk.recommend(
        RecommendRequest(
            shopper=Shopper(user_id=cast.household, market=cast.market),
            surface=t.SURFACE_CART,
            item_ids=cart_ids,
            explain=True,
        )
    )
    walk.out.print(ranking_view(cart, explain=True))
    ids = [[item.item_id for item in answer.items] for answer in (similar, cart)]
    require(all(ids), "an answer is empty")
    alike = [_of_category(answer, cast.similar_to.category) for answer in (similar, cart)]
    walk.say(
        f"{cast.similar_to.category}: {alike[0]} of the similar items, {alike[1]} of those for "
        "the cart."
    )
    require(alike[0] > alike[1], "what is called similar is no more alike than what goes with it")
    require(cast.similar_to.item_id not in ids[0], "an item was called similar to itself")
    require(not set(cart_ids) & set(ids[1]), "what lies in the cart was recommended")


def _of_category(answer: RecommendResponse, category: str) -> int:
    return sum(1 for item in answer.items if item.item.category == category)
