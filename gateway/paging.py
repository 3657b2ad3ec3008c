"""Pages of a ranking that does not change between them.

A ranking is kept for some minutes; a page token names it and a place in it, and
is signed, so that no page of another shopper can be asked for. Every place is on
exactly one page, whatever the page sizes, but for what must not be shown any more.
"""

import base64
import binascii
import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Container
from dataclasses import replace
from itertools import islice

import numpy as np

from gateway.types import NO_EVENTS, Ask, Page, Ranking, RuleSpec
from services.runtime.errors import FailedPrecondition, InvalidArgument

_ID_BYTES = 8
_MAC_BYTES = 8
_GONE = "page_token: this ranking is no longer kept; ask again without a token"
# An explained ranking keeps its whole pool, and what a learned ranker looked at.
_EXPLAINED_COST = 20
# What later pages are cut by: deleted and disliked items are out on all of them.
_RULES = {
    sold_out_too: RuleSpec(include_unavailable=sold_out_too) for sold_out_too in (False, True)
}


def new_ranking_id() -> str:
    """Return an id that cannot be guessed, 16 hexadecimal characters."""
    return os.urandom(_ID_BYTES).hex()


class Rankings:
    """Recent rankings, bounded in number and time; the oldest goes first."""

    def __init__(
        self,
        has: Callable[[int], bool],
        on_sale: Callable[[int], bool] = lambda _row: True,
        *,
        capacity: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`has` says whether a catalogue row still holds an item, `on_sale` if it is available."""
        self._has = has
        self._on_sale = on_sale
        self._capacity = capacity
        self._seconds = seconds
        self._clock = clock
        # By id: until when, which request it was made for, and the ranking.
        self._kept: OrderedDict[str, tuple[float, int, Ranking]] = OrderedDict()
        self._cost = 0
        self._secret = os.urandom(16)

    def first_page(self, ranking: Ranking, size: int) -> Page:
        """Cut the first page, and keep the ranking if there are more."""
        page = self._cut(ranking, 0, size)
        if page.next_token:
            self._keep(ranking)
        return page

    def next_page(self, ask: Ask, hidden: Container[int] = ()) -> Page:
        """Cut the page the ask's token names, without the `hidden` catalogue rows.

        Raises InvalidArgument where it is no token or the request is another one than
        it was given for, FailedPrecondition where the ranking is gone.
        """
        ranking_id, start = self._read_token(ask.page_token)
        kept = self._kept.get(ranking_id)
        if kept is None or kept[0] < self._clock():
            raise FailedPrecondition(_GONE)
        _, request, ranking = kept
        if request != _request(ask):
            raise InvalidArgument(
                "page_token",
                "given for another request; only page_size and events may differ between pages",
            )
        return self._cut(ranking, start, ask.page_size, hidden)

    def shorter(self, page: Page, size: int, *, kept: bool) -> Page:
        """Return a page's first `size` places, fewer than it has; `kept`: a token named it."""
        if not kept and not page.next_token:
            self._keep(page.ranking)
        end = int(page.places[size])
        token = self._token(page.ranking.ranking_id, end)
        return Page(page.ranking, page.places[:size], token)

    def _cut(self, ranking: Ranking, start: int, size: int, hidden: Container[int] = ()) -> Page:
        """Take the next `size` places whose items were neither deleted nor sold out since."""
        sold_out_too = ranking.ask.rules.include_unavailable

        def fine(row: int) -> bool:
            there = self._has(row) and (sold_out_too or self._on_sale(row))
            return there and row not in hidden

        places: list[int] = []
        rows, end = ranking.rows.tolist(), start
        while end < len(rows) and len(places) < size:
            if fine(rows[end]):
                places.append(end)
            end += 1
        more = any(map(fine, islice(rows, end, None)))
        token = self._token(ranking.ranking_id, end) if more else ""
        return Page(ranking, np.array(places, np.int32), token)

    def _keep(self, ranking: Ranking) -> None:
        now = self._clock()
        self._kept[ranking.ranking_id] = now + self._seconds, _request(ranking.ask), _slim(ranking)
        self._cost += _cost(ranking)
        while len(self._kept) > 1:  # not the one whose token is being given out
            ranking_id, (until, _, oldest) = next(iter(self._kept.items()))
            if self._cost <= self._capacity and until >= now:
                break
            del self._kept[ranking_id]
            self._cost -= _cost(oldest)

    def forget(self, user_id: str) -> None:
        """Drop the rankings of a shopper."""
        theirs = [i for i, (_, _, kept) in self._kept.items() if kept.ask.user_id == user_id]
        for ranking_id in theirs:
            self._cost -= _cost(self._kept.pop(ranking_id)[2])

    def _token(self, ranking_id: str, start: int) -> str:
        content = bytes.fromhex(ranking_id) + start.to_bytes(4, "big")
        return base64.urlsafe_b64encode(content + self._sign(content)).decode().rstrip("=")

    def _read_token(self, token: str) -> tuple[str, int]:
        problem = "this is no token; ask again without one"
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars="-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidArgument("page_token", problem) from None
        content, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(content) != _ID_BYTES + 4:
            raise InvalidArgument("page_token", problem)
        if not hmac.compare_digest(mac, self._sign(content)):
            # Of this gateway before its restart, or of another one: its ranking is not here.
            raise FailedPrecondition(_GONE)
        return content[:_ID_BYTES].hex(), int.from_bytes(content[_ID_BYTES:], "big")

    def _sign(self, content: bytes) -> bytes:
        return hashlib.blake2b(content, key=self._secret, digest_size=_MAC_BYTES).digest()


def _cost(ranking: Ranking) -> int:
    return _EXPLAINED_COST if ranking.facts is not None else 1


def _request(ask: Ask) -> int:
    """What must be the same on every page, as a hash; events may have happened in between."""
    return hash(replace(ask, events=NO_EVENTS, page_size=0, page_token=""))


def _slim(ranking: Ranking) -> Ranking:
    """Keep what pages are cut from: events, rules and items may be a hundred times as large."""
    rules = _RULES[ranking.ask.rules.include_unavailable]
    return replace(ranking, ask=replace(ranking.ask, events=NO_EVENTS, rules=rules, item_ids=()))
