"""Items that no model was trained on, scored here by the models' own vectors.

Content and text place a new item in their vector spaces once, when it is
upserted; both also tell the gateway, with every answer, the vector of the shopper
or the query. A dot product of the two is the score the model would have given, so
the item takes its place among that source's candidates. Vectors count only for
the model version that made them.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from artifacts.among import among
from gateway.fusion.types import Bools, Floats, Ints
from gateway.types import Item, Outcome, Question, SourceAnswer
from gateway.words import Words

# Part of the words in a text score; the text model's own default.
_WORDS_PART = np.float32(0.23)

# New items that become candidates of a source even behind its best k.
_SHOWN_ANYWAY = 10
_NO_SLOTS: Ints = np.zeros(0, np.int64)


class _Vectors:
    """One source's vectors by slot."""

    def __init__(self) -> None:
        self.matrix: Floats = np.zeros((0, 0), np.float32)
        self.versions: dict[int, str] = {}  # by slot
        # The slots of each version, sorted; None: to be found anew. Of all versions at once, as
        # answers of several come in turn while a canary is under way.
        self._usable: dict[str, Ints] | None = None

    def put(self, slot: int, version: str, vector: Floats) -> None:
        size, width = self.matrix.shape
        if width != len(vector):  # a version of another width: the old ones cannot be compared
            self.matrix, self.versions = np.zeros((size, len(vector)), np.float32), {}
        if slot >= size:
            more = np.zeros((slot + 256 - size, len(vector)), np.float32)
            self.matrix = np.concatenate([self.matrix, more])
        self.matrix[slot] = vector
        self.versions[slot] = version
        self._usable = None

    def drop(self, slot: int) -> None:
        self.versions.pop(slot, None)
        self._usable = None

    def usable(self, version: str, keys: Ints) -> Ints:
        """Return the slots with a vector of this version that says anything, by ascending key.

        By `keys`, those of all slots, equals rank; slots are chance.
        """
        if self._usable is None:
            slots: dict[str, list[int]] = {}
            for slot, made_by in self.versions.items():
                slots.setdefault(made_by, []).append(slot)
            self._usable = {v: self._telling(np.array(s), keys) for v, s in slots.items()}
        return self._usable.get(version, _NO_SLOTS)

    def _telling(self, slots: Ints, keys: Ints) -> Ints:
        slots = slots[self.matrix[slots].any(axis=1)]
        return slots[np.argsort(keys[slots])]


class NewItems:
    """New items by slot. All methods belong to the event loop."""

    def __init__(
        self,
        sources: Sequence[str],
        limit: int,
        placed: Callable[[str, str, Ints, Floats], None] = lambda *_: None,
    ) -> None:
        """`sources` place new items; `limit` of them are scored, the newest.

        `placed` hears of all vectors: source, model version, item keys [m], vectors [m, d].
        """
        self.sources = tuple(sources)
        self._placed = placed
        self._limit = limit
        self._slots: OrderedDict[int, int] = OrderedDict()  # key -> slot, oldest first
        self._items: dict[int, Item] = {}  # by key
        self._free: list[int] = []
        self._keys: Ints = np.zeros(0, np.int64)  # by slot; 0: empty
        self._vectors = {name: _Vectors() for name in self.sources}
        self._words = Words()
        # How many changes of each item are on their way to the disk, of any item.
        self.on_the_way: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._slots)

    def must_place(self, item: Item) -> bool:
        """Say whether vectors must be made for an item, or made anew for its new text."""
        old = self._items.get(item.key)
        return old is None or read_by_models(old) != read_by_models(item)

    def put(self, item: Item) -> None:
        """Add an item, or take in its new attributes."""
        if not self._limit:
            return
        if not self.must_place(item):
            self._items[item.key] = item
            return
        self.remove(item.key)
        slot = self._free.pop() if self._free else len(self._slots)
        self._slots[item.key] = slot
        self._items[item.key] = item
        if slot >= len(self._keys):
            self._keys = np.concatenate([self._keys, np.zeros(slot + 256, np.int64)])
        self._keys[slot] = item.key
        self._words.add(slot, searched(item))
        if len(self._slots) > self._limit:
            self.remove(next(iter(self._slots)))

    def put_back(self, items: Sequence[Item]) -> None:
        """Add items that are new again, the latest last; there are newer ones here already."""
        for item in reversed(items):
            if len(self._slots) >= self._limit:
                break
            if item.key not in self._slots:
                self.put(item)
                self._slots.move_to_end(item.key, last=False)

    def keep(self, new: Callable[[Ints], Bools]) -> None:
        """Forget the items that are not `new` any more, and tell `placed` of the others anew."""
        keys = np.fromiter(self._slots, np.int64)
        for key in keys[~new(keys)].tolist():
            self.remove(key)
        for source, vectors in self._vectors.items():
            for version in set(vectors.versions.values()):
                slots = vectors.usable(version, self._keys)
                self._placed(source, version, self._keys[slots], vectors.matrix[slots])

    def remove(self, key: int) -> None:
        """Forget an item, if it is one of these."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        self._words.remove(slot, searched(self._items.pop(key)))
        self._keys[slot] = 0
        self._free.append(slot)
        for vectors in self._vectors.values():
            vectors.drop(slot)

    def put_vectors(
        self, source: str, version: str, items: Sequence[Item], vectors: Floats
    ) -> None:
        """Take in the vectors [m, d] that a version of `source` made of items as they were."""
        current = self.current(items)
        for at in current:
            self._vectors[source].put(self._slots[items[at].key], version, vectors[at])
        if current:
            keys = np.array([items[at].key for at in current], np.int64)
            self._placed(source, version, keys, vectors[current])

    def current(self, items: Sequence[Item]) -> list[int]:
        """Return the places of the items that were neither changed nor deleted meanwhile.

        Nor are about to be: what the disk has of them, or will have in a moment, is another.
        """
        return [
            at
            for at, item in enumerate(items)
            if self._items.get(item.key) is item and not self.on_the_way[item.key]
        ]

    def missing(self, source: str, version: str) -> list[Item]:
        """Return the items without a vector of this version ("": of any), newest first."""
        have = self._vectors[source].versions
        return [
            self._items[key]
            for key, slot in reversed(self._slots.items())
            if slot not in have or (version and have[slot] != version)
        ]

    def lacks(self, source: str, keys: Iterable[int]) -> bool:
        """Say whether one of these items is here and has no vector of this source."""
        have = self._vectors[source].versions
        return any(self._slots[key] not in have for key in keys if key in self._slots)

    def embedded(self, keys: Iterable[int]) -> int:
        """Return how many of these items at least one source has placed."""
        slots = [self._slots[key] for key in keys if key in self._slots]
        return sum(any(s in v.versions for v in self._vectors.values()) for s in slots)

    def placed(self) -> int:
        """Return how many items at least one source has placed."""
        # Asked with every change: not item by item.
        return len(set[int]().union(*(v.versions for v in self._vectors.values())))

    def wanted(self, source: str) -> bool:
        """Say whether an answer of this source should bring its vector."""
        vectors = self._vectors.get(source)
        return vectors is not None and bool(vectors.versions)

    def extend(
        self,
        answer: SourceAnswer,
        question: Question,
        hides: Callable[[Ints], Bools] | None = None,
    ) -> SourceAnswer:
        """Add these items to a source's answer as though the source knew them.

        `hides` says of keys which the request leaves out: those would take the places of
        others that it lets through, as many new items as there may be.

        Retrieve: its best k of both, and the best of these even if they are not among
        them: nobody has bought a new item yet, so it must be seen to have a chance, if
        only in the place its score gives it. Score: fills what the source had no opinion on.
        """
        vectors = self._vectors.get(answer.source)
        if answer.outcome is not Outcome.OK or answer.embedding is None or vectors is None:
            return answer
        if len(answer.embedding) != vectors.matrix.shape[1] or not answer.embedding.any():
            return answer
        slots = vectors.usable(answer.version, self._keys)
        if hides is not None:
            slots = slots[~hides(self._keys[slots])]
        if not len(slots):
            return answer
        scores = vectors.matrix[slots] @ answer.embedding
        if question.text:
            scores = self._with_words(question.text, slots, scores, answer.scores)
        if question.candidates is not None:
            return _filled(answer, self._keys[slots], scores)
        keys = np.concatenate([answer.keys, self._keys[slots]])
        scores = np.concatenate([answer.scores, scores]).astype(np.float32, copy=False)
        order = np.argsort(-scores, kind="stable")  # NaN sorts to the end
        mine = order[order >= len(answer.keys)][:_SHOWN_ANYWAY]
        best = order[: question.k]
        best = np.concatenate([best, mine[~among(mine, np.sort(best))]])
        return answer._replace(keys=keys[best], scores=scores[best])

    def _with_words(self, text: str, slots: Ints, dense: Floats, answered: Floats) -> Floats:
        """Blend in the words of a query, as the text model does for the items it has indexed.

        Its score is in 0..1: mostly the cosine, the rest how well the words match, the
        best match of the query counting 1. Here the part of the query's words held
        stands for the latter.
        """
        by_slot = np.zeros(len(self._keys), np.float32)
        found, coverage = self._words.find(text)
        by_slot[found] = coverage
        # Should a source score on a larger scale, its best match is that large; what is no
        # number tells no scale.
        unit = answered[np.isfinite(answered)].max(initial=np.float32(1))
        blended: Floats = (1 - _WORDS_PART) * dense + _WORDS_PART * unit * by_slot[slots]
        return blended


def searched(item: Item) -> tuple[str, ...]:
    """The words by which a new item is found."""
    attributes = (f"{name} {value}" for name, value in item.attributes.items())
    return (item.title, item.brand, item.category, item.domain, item.text, *attributes)


def read_by_models(item: Item) -> tuple[object, ...]:
    """Everything of an item that its vectors depend on."""
    return (*searched(item), item.provider, item.price, item.image)


def _filled(answer: SourceAnswer, keys: Ints, scores: Floats) -> SourceAnswer:
    order = np.argsort(keys)
    keys, scores = keys[order], scores[order]
    at = np.minimum(np.searchsorted(keys, answer.keys), len(keys) - 1)
    fills = (keys[at] == answer.keys) & np.isnan(answer.scores)
    return answer._replace(scores=np.where(fills, scores[at], answer.scores))
