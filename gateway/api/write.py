"""Rankings and items into messages. Only what is shown becomes a message."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from artifacts.keys import item_key
from gateway.catalogue import Catalogue
from gateway.fusion.explain import Explanation, explain, reason_text
from gateway.types import Facts, Item, Outcome, Page, Ranking
from plait.v1 import recommendation_service_pb2 as api
from plait.v1 import types_pb2 as t

_OUTCOMES = {o: t.SourceOutcome.Value(f"SOURCE_OUTCOME_{o.value}") for o in Outcome}
Reply = TypeVar("Reply", api.RecommendResponse, api.SearchResponse, api.RankResponse)


# Cards kept, about 1 kB each, and their bytes where shops write more on them; beyond it they
# are made anew.
_MOST_CARDS, _MOST_BYTES = 8_192, 32 << 20


class Cards:
    """Shown items as bytes of their messages: parsing one is cheaper than filling it in."""

    def __init__(self) -> None:
        self._cards: dict[int, tuple[Item, bytes]] = {}
        self._bytes = 0
        # The most that any card ever had.
        self.largest = 0

    def write(self, target: t.RankedItem, row: int, item: Item) -> None:
        """Fill an item into the message of its place, which says nothing else yet."""
        card = self._cards.get(row)
        if card is None or card[0] is not item:
            target.item_id, target.item_key = item.item_id, item.key
            write_card(target.item, item)
            self._keep(row, item, target.SerializeToString())
        else:
            target.MergeFromString(card[1])

    def _keep(self, row: int, item: Item, card: bytes) -> None:
        if len(self._cards) >= _MOST_CARDS or self._bytes > _MOST_BYTES:
            self._cards.clear()
            self._bytes = 0
        before = self._cards.get(row)
        self._bytes += len(card) - (len(before[1]) if before else 0)
        self._cards[row] = item, card
        self.largest = max(self.largest, len(card))


def write_page(reply: Reply, page: Page, catalogue: Catalogue, cards: Cards) -> Reply:
    """Fill one page of a ranking into a response, and return it."""
    ranking = page.ranking
    reply.ranking_id = ranking.ranking_id
    reply.unknown_item_count = ranking.unknown_items
    if not isinstance(reply, api.RankResponse):
        reply.next_page_token = page.next_token
    places = page.places
    shown = zip(
        places.tolist(), ranking.rows[places].tolist(), ranking.scores[places].tolist(), strict=True
    )
    for place, row, score in shown:
        ranked = reply.items.add()
        cards.write(ranked, row, catalogue.item(row))
        ranked.position, ranked.score = place + 1, score
    if ranking.facts is not None:
        _explain(reply.items, page, ranking.facts, catalogue)
        for row, reason in ranking.dropped:
            if catalogue.has(row):
                reply.dropped.add(item_id=catalogue.item(row).item_id, reason=reason)
    for item_id, reason in ranking.forbidden_ids:
        reply.dropped.add(item_id=item_id, reason=reason)
    for number, item_id in enumerate(ranking.unknown_ids, len(ranking.rows) + 1):
        reply.items.add(item_id=item_id, item_key=item_key(item_id), position=number)
    _write_sources(reply, ranking)
    return reply


def write_item(target: t.Item, item: Item) -> None:
    """Fill all of an item into its message."""
    write_card(target, item)
    target.text = item.text
    target.image_vector.extend(np.frombuffer(item.image, "<f4").tolist())


def write_card(target: t.Item, item: Item) -> None:
    """Fill what a card shows into an item's message: all but what would make a page megabytes."""
    target.item_id = item.item_id
    target.item_key = item.key
    target.title = item.title
    target.domain = item.domain
    target.category = item.category
    target.brand = item.brand
    target.available = item.available
    target.provider = item.provider
    if item.price is not None:
        target.price = item.price
    if item.attributes:
        target.attributes.update(item.attributes)


def _write_sources(reply: Reply, ranking: Ranking) -> None:
    for answer, count in zip(ranking.answers, ranking.candidate_counts, strict=True):
        reply.sources.add(
            source=answer.source,
            outcome=_OUTCOMES[answer.outcome],
            model_version=answer.version,
            candidate_count=count,
            latency_ms=answer.seconds * 1000,
            detail=answer.detail,
        )
    reply.coverage.asked = ranking.asked
    reply.coverage.answered = ranking.answered
    reply.coverage.partial = ranking.partial
    reply.coverage.fallback = ranking.fallback
    reply.coverage.history_unread = ranking.unread


def _explain(items: Sequence[t.RankedItem], page: Page, facts: Facts, catalogue: Catalogue) -> None:
    query = facts.query._replace(columns=catalogue.columns)
    found = explain(query, facts.pool, page.ranking.positions[page.places])
    for ranked, explanation in zip(items, found, strict=True):
        _write_explanation(ranked.explanation, explanation, query.text, catalogue)


def _write_explanation(
    target: t.Explanation, explanation: Explanation, text: str, catalogue: Catalogue
) -> None:
    for part in explanation.contributions:
        target.contributions.add(
            source=part.source,
            score=part.score,
            rank=part.rank,
            calibrated=part.calibrated,
            weight=part.weight,
            share=part.share,
            value=part.value,
        )
    for name, value in explanation.adjustments:
        target.adjustments.add(name=name, value=value)
    target.rules.extend(explanation.rules)
    about = explanation.reason.row
    title = catalogue.item(about).title if catalogue.has(about) else ""
    target.reason = reason_text(explanation.reason, title=title, query=text)
