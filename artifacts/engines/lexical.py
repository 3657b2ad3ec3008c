"""A fielded BM25 index over products, on tantivy.

The one idea: a query never meets tantivy's query language. It is analysed into
terms here and put together as objects, so no character of it has a meaning.
A term counts by BM25 in every field it stands in, plus a bonus by its rarity: an
item that holds all the words beats one that holds a single word often. A term
that no product has is matched loosely: as a prefix, or with a typing error.
"""

import math
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import tantivy

from artifacts.engine import Scores
from artifacts.engines.query_weight import Word
from artifacts.errors import ArtifactCorrupt, NoRoom
from artifacts.item_text import WORD, folded, joined, spaced
from artifacts.keys import Keys

LEXICAL = "lexical"
# The manifest's parameter of an index that holds the pieces of words without spaces.
PIECES = "pieces"
# And of one whose words are without accents, as queries are then; the analyzer knows only Latin's.
FOLDED = "folded"
# And of one that holds katakana as hiragana.
KANA = "kana"
# How often a copy that is still written to is removed before it is left where it is.
_TRIES = 50
# What BM25 in each field counts. These and COVERAGE were chosen on half of the
# judged searches of models/text/evaluate.py.
FIELDS: Mapping[str, float] = {
    "title": 3.0,
    "compact": 2.0,
    "category": 2.0,
    "brand": 1.0,
    "domain": 1.0,
    "text": 1.0,
    "details": 0.25,
}
# Bonus of a matched term, in units of its rarity (idf).
COVERAGE = 16.0
# What a loose match counts: about as much as a very common word.
_LOOSE = 20.0
MAX_CHARACTERS = 256
_MAX_TERMS = 24
# In bytes: forty letters of any script but rare ones.
_LONGEST = 121
_ANALYZER = "plait"
_ROW = "row"


def _remove(directory: Path) -> None:
    """Remove a directory into which somebody may still write for a moment.

    tantivy watches what it has opened until it is told not to, and may write a lock file
    while the others go: a good artifact was refused for it on a busy machine.
    """
    for _ in range(_TRIES):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.02)


def build_lexical(directory: Path, documents: Iterable[Mapping[str, str]]) -> None:
    """Index documents (field name to text, one per row 1 .. n in order) into `directory`.

    Fields other than `FIELDS` are ignored; "compact" is derived from the title. Raises
    NoRoom where the index cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        _index(directory, documents)
    except ValueError as error:  # tantivy's, of a full disk too, and not always with the reason
        raise NoRoom(
            f"{directory}: the index of words cannot be written ({error}); what was being written "
            "is not to be used: make sure that the disk has room, and run it again"
        ) from None


def _index(directory: Path, documents: Iterable[Mapping[str, str]]) -> None:
    index = tantivy.Index(_schema(), str(directory), reuse=False)
    index.register_tokenizer(_ANALYZER, _analyzer())
    # One thread: one segment, the same documents in the same order every time.
    writer = index.writer(heap_size=256_000_000, num_threads=1)
    for number, fields in enumerate(documents):
        document = tantivy.Document()
        document.add_unsigned(_ROW, number + 1)
        document.add_text("compact", " ".join(compact_forms(fields.get("title", ""))))
        for name in FIELDS:
            if name != "compact" and fields.get(name):
                document.add_text(name, spaced(folded(fields[name]), single=True))
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    for lock in directory.glob("*.lock"):
        lock.unlink(missing_ok=True)  # its writer may be taking it away as well


class LexicalIndex:
    """Searches an index that `build_lexical` wrote; safe to call from several threads."""

    def __init__(
        self, directory: Path, *, pieces: bool = True, folded: bool = True, kana: bool = True
    ) -> None:
        """Open the index. Raises ArtifactCorrupt naming the directory, NoRoom without room.

        Without `pieces` it is one from before it held those of words without spaces, without
        `folded` one from before its words were without accents of every script, without `kana`
        one from before hiragana and katakana were one.
        """
        self._pieces, self._folded, self._kana = pieces, folded, kana
        # tantivy writes lock files even to read; an artifact may lie on a read-only
        # disk and is never changed. The files are mapped, so the copy can go at once.
        scratch = Path(tempfile.mkdtemp(prefix="plait-lexical-"))
        try:
            copy = shutil.copytree(directory, scratch / LEXICAL)
            self._index = tantivy.Index.open(str(copy))
            self._index.config_reader("manual")
            self._searcher = self._index.searcher()
        except shutil.Error as error:
            _, _, why = error.args[0][0]  # of the first file
            raise NoRoom(
                f"{directory}: cannot be copied to {scratch.parent}, where it is read ({why}); "
                "make room there, or name another place with TMPDIR"
            ) from None
        except Exception as error:  # tantivy raises bare ValueError and OSError
            raise ArtifactCorrupt(
                f"{directory}: not a lexical index ({error}); copy or train the version anew"
            ) from None
        finally:
            _remove(scratch)
        self._analyzer = _analyzer()
        self._schema = self._index.schema

    def search(self, query: tantivy.Query, limit: int) -> tuple[Keys, Scores]:
        """Return rows int64 [m] and scores float32 [m], best first, m <= limit."""
        hits = self._searcher.search(query, max(1, limit), count=False).hits
        rows = self._searcher.fast_field_values(_ROW, [address for _, address in hits])
        found = np.array(rows, np.int64).reshape(-1)
        return found, np.array([score for score, _ in hits], np.float32)

    def score(self, query: tantivy.Query, rows: Keys) -> Scores:
        """Return the scores of some rows, float32 [m]; 0 where no term matches."""
        wanted = np.unique(rows[rows > 0])
        scores = np.zeros(len(rows), np.float32)
        if not len(wanted):
            return scores
        among = tantivy.Query.term_set_query(self._schema, _ROW, wanted.tolist())
        parts = (query, tantivy.Query.const_score_query(among, 0.0))
        both = tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in parts])
        found, values = self.search(both, len(wanted))
        if len(found):
            order = np.argsort(found)
            at = np.minimum(np.searchsorted(found, rows, sorter=order), len(found) - 1)
            scores = np.where(found[order[at]] == rows, values[order[at]], np.float32(0))
        return scores

    @property
    def size(self) -> int:
        """How many products there are."""
        return int(self._searcher.num_docs)

    def words(self, text: str) -> list[Word]:
        """Return how many products hold each word of a query, and where."""
        found = []
        for term in self._terms(text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")):
            counts = self._counts(term)
            found.append(Word(term, max(counts.values()), counts["brand"], counts["title"]))
        return found

    def _terms(self, text: str) -> list[str]:
        text = folded(text) if self._folded else text
        text = spaced(text, kana=self._kana) if self._pieces else text
        return list(dict.fromkeys(self._analyzer.analyze(text)))[:_MAX_TERMS]

    def _counts(self, term: str) -> dict[str, int]:
        return {field: self._searcher.doc_freq(field, term) for field in FIELDS}

    def parse(self, text: str) -> tantivy.Query | None:
        """Turn a shopper's words into a query; None where no product could match any."""
        text = text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
        terms = self._terms(text)
        parts = [part for term in terms for part in self._term(term)]
        forms = list(dict.fromkeys(compact_forms(text, pairs=True)))[:_MAX_TERMS]
        known = [f for f in forms if f not in terms and self._searcher.doc_freq("compact", f)]
        parts += [self._in_field(form, "compact") for form in known]
        return _any(parts) if parts else None

    def _term(self, term: str) -> list[tantivy.Query]:
        """Return what a term adds: BM25 per field, and once the bonus; or a loose match."""
        counts = self._counts(term)
        fields = [field for field, count in counts.items() if count]
        if not fields:
            return self._loose(term)
        size, count = self._searcher.num_docs, max(counts.values())
        rarity = math.log1p((size - count + 0.5) / (count + 0.5))
        matches = [tantivy.Query.term_query(self._schema, f, term, "freq") for f in fields]
        bonus = tantivy.Query.const_score_query(_any(matches), COVERAGE * rarity)
        return [*(self._in_field(term, field) for field in fields), bonus]

    def _in_field(self, term: str, field: str) -> tantivy.Query:
        match = tantivy.Query.term_query(self._schema, field, term, "freq")
        return tantivy.Query.boost_query(match, FIELDS[field])

    def _loose(self, term: str) -> list[tantivy.Query]:
        """Match a term that no product has: its continuations, or a typing error or two."""
        if len(term) < 3:
            return []
        distance = 0 if len(term) < 4 else 1 if len(term) < 8 else 2
        parts = [
            tantivy.Query.fuzzy_term_query(self._schema, field, term, distance, True, True)
            for field in ("title", "category", "brand")
        ]
        return [tantivy.Query.const_score_query(_any(parts), _LOOSE)]


def compact_forms(text: str, *, pairs: bool = False) -> list[str]:
    """Return words written without their inner marks: "Wi-Fi" as wifi, "DV7-1211" as dv71211.

    With `pairs`, neighbouring words written as one as well ("wi fi"), since a
    shopper leaves the marks out.
    """
    plain = folded(text)
    forms = joined(plain)
    if pairs:
        words = WORD.findall(plain)
        forms += [a + b for a, b in pairwise(words)] + words
    return [form for form in forms if len(form) < 40]


def _any(parts: list[tantivy.Query]) -> tantivy.Query:
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, part) for part in parts])


def _analyzer() -> tantivy.TextAnalyzer:
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(_LONGEST))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.ascii_fold())
        .filter(tantivy.Filter.stemmer("english"))
        .build()
    )


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field(_ROW, indexed=True, fast=True)
    for name in FIELDS:
        tokenizer = "whitespace" if name == "compact" else _ANALYZER
        # No positions: phrases are not asked for, and the index is smaller.
        builder.add_text_field(name, tokenizer_name=tokenizer, index_option="freq")
    return builder.build()
