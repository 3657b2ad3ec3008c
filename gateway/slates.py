"""Pages of rankings: made on the first call, cut from what is kept on the next ones."""

import asyncio
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from gateway import observe
from gateway.adaptive import AdaptiveWeights
from gateway.admission.gate import Gate
from gateway.admission.load import load_seconds
from gateway.catalogue import Catalogue
from gateway.exposure import ExposureLog
from gateway.extending import extended
from gateway.fanout import deadline, expiry
from gateway.idle import IdleRankings
from gateway.paging import Rankings
from gateway.recommender import Recommender
from gateway.trails import UNREAD, Trails
from gateway.types import Ask, Page, Ranking, Trail
from services.runtime.errors import DeadlineExceeded


class Slates:
    """Answers asks with pages, and notes what was shown after the reply is on its way."""

    def __init__(
        self,
        recommender: Recommender,
        gate: Gate,
        rankings: Rankings,
        catalogue: Catalogue,
        exposures: ExposureLog | None,
        *,
        trails: Trails,
        idle: IdleRankings,
        adaptive: AdaptiveWeights,
        most_ms: int,
        reserve_ms: int,
    ) -> None:
        """`most_ms`: longest a ranking may take; `reserve_ms` of it is kept for merging."""
        self._recommender = recommender
        self._gate = gate
        self._rankings = rankings
        self._idle = idle
        self._adaptive = adaptive
        self._catalogue = catalogue
        self._trails = trails
        self._exposures = exposures
        self._most_ms = most_ms
        self._reserve_ms = reserve_ms
        self._making = Making()

    async def page(self, ask: Ask, remaining: float | None) -> Page:
        """Return the page an ask is about; `remaining`: seconds the client leaves.

        A first page is made once there is a place for it; the next ones are only cut.
        Raises InvalidArgument or FailedPrecondition for a page token that cannot be used,
        ResourceExhausted where too much is asked, DeadlineExceeded.
        """
        start = time.perf_counter()
        until = deadline(remaining, start, most_ms=self._most_ms, reserve_ms=self._reserve_ms)
        if ask.page_token:
            return await self._next_page(ask, until)
        while (ranking := await self._ranking(ask, until, expiry(remaining, start))) is None:
            pass  # made of what was deleted meanwhile: again, as a stranger's
        return self._rankings.first_page(ranking, ask.page_size)

    async def _ranking(self, ask: Ask, until: float, expires: float) -> Ranking | None:
        """Return a ranking, kept or new; None where its shopper was forgotten meanwhile."""
        with self._making.known(ask.user_id) as known:
            kept, moment = await self._idle.find(ask, until)
            if kept is not None:
                return kept
            async with self._gate.admitted(ask.surface, until) as visit:
                ranking = await self._rank(ask, until, expires)
                visit.note(load_seconds(ranking, self._gate.fair_seconds))
            if not known():
                return None
        self._idle.keep(ask, moment, ranking)
        return ranking

    def shorter(self, page: Page, size: int, ask: Ask) -> Page:
        """Return the first `size` places of a page, with the token for those behind them."""
        return self._rankings.shorter(page, size, kept=bool(ask.page_token))

    def forget(self, user_id: str) -> None:
        """Drop what is kept of a shopper's rankings, for further pages or to be shown again."""
        self._rankings.forget(user_id)
        self._idle.forget(user_id)
        self._making.forget(user_id)

    async def _next_page(self, ask: Ask, until: float) -> Page:
        trail = await self._trails.get(ask.user_id, until)
        page = self._rankings.next_page(ask, self._unwanted(ask, trail))
        if trail is not UNREAD:
            return page
        # What was disliked since the ranking was made may be on it.
        return replace(page, ranking=replace(page.ranking, unread=True))

    def _unwanted(self, ask: Ask, trail: Trail) -> Container[int]:
        """Return the catalogue rows of what the shopper has come to dislike, or bought if asked."""
        trail = extended(trail, ask.events, len(trail.keys) + len(ask.events))
        keys = trail.disliked
        if ask.rules.exclude_purchased:
            keys = np.concatenate([keys, trail.purchased])
        return frozenset(self._catalogue.rows(keys).tolist())

    async def _rank(self, ask: Ask, until: float, expires: float) -> Ranking:
        start = time.perf_counter()
        try:
            return await self._recommender.rank(ask, until, expires)
        except DeadlineExceeded:
            raise
        except Exception:
            observe.note_failure(ask.surface, time.perf_counter() - start)
            raise

    def shown(self, page: Page, reply_seconds: float, *, first: bool) -> None:
        """Note that a page was answered; called with the reply made, works after it is sent."""
        asyncio.get_running_loop().call_soon(self._note, page, reply_seconds, first)

    def _note(self, page: Page, reply_seconds: float, first: bool) -> None:
        observe.note_page(page, reply_seconds, first=first)
        self._adaptive.shown(page)
        if self._exposures is not None:
            rows = page.ranking.rows[page.places].tolist()
            shown = [self._catalogue.item(r).item_id for r in rows if self._catalogue.has(r)]
            self._exposures.add(page, shown)


class Making:
    """For whom rankings are being made, so that none outlives what it was made of."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}

    @contextmanager
    def known(self, user_id: str) -> Iterator[Callable[[], bool]]:
        """Make a ranking in the block; what it gets says if nobody forgot the shopper in it."""
        count = self._counts.setdefault(user_id, [0])
        count[0] += 1
        try:
            yield lambda: self._counts.get(user_id) is count
        finally:
            count[0] -= 1
            if not count[0] and self._counts.get(user_id) is count:
                del self._counts[user_id]

    def forget(self, user_id: str) -> None:
        """Note that all that was known of a shopper is deleted."""
        self._counts.pop(user_id, None)
