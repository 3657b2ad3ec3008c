"""Replies that callers can take: gRPC's clients refuse more than 4 MiB unless told otherwise.

A shop may write 22 kB of attributes on each card, and a page has 200. The one idea: a page
that would be larger ends sooner, and its token goes on behind what was given; Rank has no
pages, so there the last cards are left out and every place stays.
"""

from itertools import accumulate

from google.protobuf.message import Message

from gateway.api.write import Cards, Reply
from plait.v1 import recommendation_service_pb2 as api

MOST_BYTES = 4_000_000
# What a place holds beside its card, and a reply beside its places, where nothing is explained.
_BESIDE, _AROUND = 600, 100_000
# Tag and length of an item in its list.
_FRAME = 6


def may_exceed(reply: Reply, cards: Cards, most: int) -> bool:
    """Say whether a reply may have more than `most` bytes; sure of those it says no to.

    Measuring a reply costs as much as writing it.
    """
    if reply.items and reply.items[0].HasField("explanation"):
        return True
    return len(reply.items) * (cards.largest + _BESIDE) + _AROUND > most


def fitting(reply: api.RecommendResponse | api.SearchResponse, most: int) -> int:
    """Return how many of a page's items `most` bytes hold, one at least."""
    sizes = list(map(_framed, reply.items))
    room = most - (reply.ByteSize() - sum(sizes))
    return max(sum(size <= room for size in accumulate(sizes)), 1)


def leave_out_cards(reply: api.RankResponse, most: int) -> None:
    """Take the cards of the last places away, as many as makes the reply fit."""
    over = reply.ByteSize() - most
    for ranked in reversed(reply.items):
        if over <= 0:
            break
        if ranked.HasField("item"):
            over -= _framed(ranked.item)
            ranked.ClearField("item")


def _framed(message: Message) -> int:
    return message.ByteSize() + _FRAME
