"""Getting candidates: which source is asked what, and in which order.

Everywhere but in a search all sources are asked at once. A search first finds by
the query alone, then the sources that know the shopper score what was found, so
that taste orders results but never adds what the query did not mean.
"""

import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from artifacts.compiled import INTS, ROWS, compiled
from gateway.catalogue import Catalogue
from gateway.fusion.hard_rules import allowed
from gateway.fusion.types import Bools, Floats, Ints, Query, Rows
from gateway.left_out import NOTHING, LeftOut, left_out
from gateway.new_items import NewItems
from gateway.quantiles import Quantiles
from gateway.rollouts.asking import VersionedFanOut
from gateway.situation import Situation
from gateway.sources import Source
from gateway.types import Outcome, Question, SourceAnswer

# Stands in for the sources that read text when none of them answers a search.
WORDS = "words"
_NO_KEYS = np.zeros(0, np.int64)
_NO_WEIGHTS = np.zeros(0, np.float32)
Candidates = dict[str, tuple[Rows, Floats]]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the sources said about one request."""

    query: Query  # with WORDS among its sources where the word search stood in
    answers: Mapping[str, SourceAnswer]  # every configured source
    candidates: Candidates  # catalogue rows (-1: not in the catalogue) and scores
    unknown: int  # items that sources named and the catalogue lacks


class Retrieval:
    """Asks the sources on behalf of a request."""

    def __init__(
        self,
        sources: tuple[Source, ...],
        catalogue: Catalogue,
        new_items: NewItems,
        fan_out: VersionedFanOut,
        quantiles: Quantiles,
        *,
        candidates: Callable[[int], int],
        search_share: float,
        without: Mapping[str, Container[str]],
    ) -> None:
        """`candidates`: how many to ask of each source, at least the number given.

        `search_share` of a search's time may go into finding. `without`: surface -> sources
        that are not asked there.
        """
        self._sources = sources
        self._catalogue = catalogue
        self._new_items = new_items
        self._fan_out = fan_out
        self._quantiles = quantiles
        self._candidates = candidates
        self._search_share = search_share
        # Surface -> who is asked, and who is not; surfaces that are not named ask all.
        self._asked = {
            surface: (
                tuple(s for s in sources if s.name not in names),
                tuple(s for s in sources if s.name in names),
            )
            for surface, names in without.items()
        }

    async def gather(self, situation: Situation, until: float) -> Gathered:
        """Ask; every source must have answered by `until` (time.perf_counter())."""
        words: tuple[Rows, Floats] | None = None
        if situation.query.surface == "SEARCH":
            answers, words = await self._search(situation, until)
        else:
            question = self._question(situation)
            asked, others = self._asked.get(situation.query.surface, (self._sources, ()))
            out = self._left_out(situation)
            answers = await self._ask(asked, question, until, situation.ask.user_id, out)
            answers |= {s.name: s.skipped("not asked on this surface") for s in others}
        usable = [a for a in answers.values() if a.outcome is Outcome.OK and len(a.keys)]
        candidates, unknown = self._to_rows(usable)
        # A source that answered with nothing has answered: it counts, with no candidates.
        silent = (a for a in answers.values() if a.outcome is Outcome.OK and not len(a.keys))
        candidates |= {a.source: (_NO_KEYS.astype(np.int32), _NO_WEIGHTS) for a in silent}
        query = situation.query._replace(quantiles=self._quantiles.of(answers.values()))
        # Words that nothing holds are no answer: what sells is worth more than an empty shelf.
        if words is not None and len(words[0]):
            query, candidates = _with_words(query), {**candidates, WORDS: words}
        return Gathered(query, answers, candidates, unknown)

    async def _search(
        self, situation: Situation, until: float
    ) -> tuple[dict[str, SourceAnswer], tuple[Rows, Floats] | None]:
        """Find, then score. The second result is the word search's where it stood in."""
        finders = tuple(s for s in self._sources if s.reads_text)
        others = tuple(s for s in self._sources if not s.reads_text)
        now, user = time.perf_counter(), situation.ask.user_id
        find = Question(_NO_KEYS, _NO_WEIGHTS, text=situation.text, k=self._k(situation))
        time_to_find, out = now + (until - now) * self._search_share, self._left_out(situation)
        found = await self._ask(finders, find, time_to_find, user, out)
        words: tuple[Rows, Floats] | None = None
        if any(a.outcome is Outcome.OK for a in found.values()):
            # What must not be shown has no score, and wants none.
            shown = [a.keys[~np.isnan(a.scores)] for a in found.values()]
            keys = np.unique(np.concatenate(shown))
        else:
            words = self._by_words(situation)
            keys = situation.query.columns.keys[words[0]]
        keys = keys[keys > 0]
        if not len(keys):
            return found | {s.name: s.skipped("nothing was found to score") for s in others}, words
        score = self._question(situation)._replace(text="", candidates=keys)
        return found | await self._ask(others, score, until, user), words

    def _by_words(self, situation: Situation) -> tuple[Rows, Floats]:
        columns = situation.query.columns
        rows, coverage = self._catalogue.find_words(situation.text)
        inside = rows < len(columns.keys)
        rows, coverage = rows[inside], coverage[inside]
        fine = allowed(situation.query, rows)
        rows, coverage = rows[fine], coverage[fine]
        order = np.lexsort((columns.keys[rows], -columns.popularity[rows], -coverage))
        best = order[: self._k(situation)]
        return rows[best], coverage[best]

    def _question(self, situation: Situation) -> Question:
        return Question(
            history=situation.history,
            history_weight=situation.history_weight,
            text=situation.text,
            k=self._k(situation),
            candidates=situation.candidates if situation.query.surface == "RANK" else None,
            history_type=situation.history_type,
            history_age=situation.history_age,
        )

    def _left_out(self, situation: Situation) -> LeftOut:
        return left_out(situation.query, situation.ask.rules, self._catalogue.sold_out)

    def _k(self, situation: Situation) -> int:
        """Candidates asked of each source: fewer under load, but a page full."""
        return self._candidates(situation.ask.page_size)

    async def _ask(
        self,
        sources: tuple[Source, ...],
        question: Question,
        until: float,
        user_id: str,
        out: LeftOut = NOTHING,
    ) -> dict[str, SourceAnswer]:
        """Ask sources one question, and let new items take their place in the answers."""
        plain = question._replace(k=out.asked(question.k))
        with_vector = plain._replace(embedding=True)
        questions = {
            s.name: with_vector if self._new_items.wanted(s.name) else plain for s in sources
        }
        answers = await self._fan_out.ask(sources, questions, until, user_id)
        hides = partial(self._hides, out) if out.matters else None
        return {
            name: self._new_items.extend(self._cut(a, question.k, out), question, hides)
            for name, a in answers.items()
        }

    def _hides(self, out: LeftOut, keys: Ints) -> Bools:
        return out.hides(keys, self._catalogue.rows(keys))

    def _cut(self, answer: SourceAnswer, k: int, out: LeftOut) -> SourceAnswer:
        if not out.cuts(answer):
            return answer
        return out.cut(answer, k, self._catalogue.rows(answer.keys))

    def _to_rows(self, answers: list[SourceAnswer]) -> tuple[Candidates, int]:
        """Map all answers' keys to catalogue rows in one go; also return how many have none."""
        if not answers:
            return {}, 0
        keys = np.concatenate([a.keys for a in answers])
        rows, found, end = self._catalogue.rows(keys), {}, 0
        for answer in answers:
            begin, end = end, end + len(answer.keys)
            found[answer.source] = rows[begin:end], answer.scores
        return found, int(_missing(keys, rows))


@compiled(INTS, ROWS)
def _missing(keys: Ints, rows: Rows) -> int:
    count = 0
    for i in range(len(keys)):
        count += keys[i] != 0 and rows[i] < 0
    return count


def _with_words(query: Query) -> Query:
    """Add the word search as a source; in a search it leads, as a text model would."""
    weights = {**query.weights, WORDS: max(query.weights.values(), default=1.0)}
    return query._replace(sources=(*query.sources, WORDS), weights=weights)
