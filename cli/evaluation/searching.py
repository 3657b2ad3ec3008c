"""Searches: rated ones where the data has them, else what was bought after asking for its kind.

Rated: how well products are ordered that people judged, by words alone, by
meaning alone, and by both. Bought: a shopper asks for a product type (the
category of what the next basket holds); the text model finds candidates, and the
row that knows the shopper should put the product bought first. Typed, where events
say which query led to them: the same for what shoppers really asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from artifacts.engine import Engine
from cli.evaluation.ranking import Answers, Asked, Together, kept, model_entries
from cli.evaluation.tables import (
    Ranked,
    make_table,
    rank_again,
    rank_rows,
    with_extras,
)
from cli.evaluation.training import Job, Source, Sources, train_sources
from models.data.errors import OptionError, SplitError
from models.evaluate.judge import Entry, compared
from models.evaluate.metrics import Doubles
from models.evaluate.ranking import Lists
from models.evaluate.report import SliceResult, Table
from models.evaluate.task import by_strangers
from models.evaluate.work import Arrays, code_of, digest
from models.fusion.config import TEXT
from models.fusion.queries import basket_searches, by_score, search_lists, typed, typed_searches
from models.progress import Progress
from models.text.evaluate import halves, held_out, judged, search_values
from models.train import reasons, unsuited

_NOTES = {
    "lexical": "words alone",
    "dense": "meaning alone",
    "hybrid, one weight": "both, the same weight for every query",
}


def rated_table(job: Job) -> tuple[Table, dict[str, str]]:
    """Judge by the dataset's rated queries; also say which rows are left out."""
    queries = job.dataset.queries
    if queries is None:
        raise ValueError("no rated queries")
    models = tuple(m for m in job.plan.models if m.source == TEXT)
    if not models:
        raise OptionError("rated queries judge the text model: name text in --models")
    if not (queries["rating"] > 0).any():
        raise SplitError(
            f"{job.dataset.path}: no query has a product rated above 0, so no ranking is better "
            "than another; import other ratings"
        )
    others = {m.label: "answers no query by itself" for m in job.plan.models if m.source != TEXT}
    others |= dict.fromkeys(job.plan.rows, "rated queries judge the text model alone")
    job = replace(job, plan=replace(job.plan, models=models))
    sources = train_sources(job)
    several = len(sources.found) > 1
    entries: list[Entry] = []
    values: list[dict[str, Doubles]] = []
    for label, source in sources.found.items():
        for name, engine in halves(source.directory).items():
            entry, found = _rated(job, source, (name, engine), queries)
            entries.append(replace(entry, name=f"{label} {name}" if several else name))
            values.append(found)
    if not values:
        raise SplitError(f"{job.dataset.path}: no row is left to judge: {reasons(sources.skipped)}")
    return _rated_table(job, entries, values, queries), {**others, **sources.skipped}


def _rated(
    job: Job, source: Source, half: tuple[str, Engine], queries: pl.DataFrame
) -> tuple[Entry, dict[str, Doubles]]:
    name, engine = half
    key = {
        "source": source.key,
        "half": name,
        "ks": job.plan.ks,
        "queries": digest(queries.rows()),
        "code": code_of("models.text.evaluate"),
    }

    def make() -> Arrays:
        progress = job.stages(f"search {source.model.label} {name}")
        return dict(search_values(engine, queries, job.plan.ks, progress))

    found = job.work.arrays("searches", key, make)
    note = _NOTES.get(name, "both, as served")
    nothing = np.zeros((0, 0), np.int64)
    version = int(engine.manifest.version)
    kind = "fusion" if name.startswith("hybrid") else "model"
    return Entry(name, kind, nothing, note, version, source.seconds), found


def _rated_table(
    job: Job,
    entries: Sequence[Entry],
    values: Sequence[Mapping[str, Doubles]],
    queries: pl.DataFrame,
) -> Table:
    texts = [query for query, _, _ in judged(queries)]
    by = job.plan.measure("condensed_ndcg")
    rows, differences = compared(entries, values, [{}] * len(entries), by)
    # One favours meaning, the other words: a hybrid is better only if it is by both.
    _, of_all = compared(entries, values, [{}] * len(entries), job.plan.measure("full_ndcg"))
    slices = []
    for group, name, what, chosen in _query_slices(texts):
        if chosen.any() and not chosen.all():
            part = [{n: v[chosen] for n, v in row.items()} for row in values]
            inside, _ = compared(entries, part, [{}] * len(entries), by)
            metrics = {row.name: row.metrics for row in inside}
            ends = {row.name: row.intervals[by.main] for row in inside}
            count = int(chosen.sum())
            slices.append(SliceResult(group, name, what, count, count, metrics, ends))
    return Table(
        title="Rated searches",
        unit="queries",
        users=len(texts),
        users_without_history=queries["query"].n_unique() - len(texts),
        targets=queries.filter(pl.col("query").is_in(texts)).height,
        catalogue=job.dataset.items.height,
        rows=rows,
        differences=(*differences, *of_all),
        slices=tuple(slices),
    )


def _query_slices(texts: Sequence[str]) -> list[tuple[str, str, str, np.ndarray]]:
    words = np.array([len(text.split()) for text in texts])
    unseen = np.array([held_out(text) for text in texts])
    return [
        ("settings", "tuned on", "half of the queries, on which the engine's weights were chosen",
         ~unseen),
        ("settings", "held out", "the other half, by hash of the text", unseen),
        ("words", "one word", "", words == 1),
        ("words", "two words", "", words == 2),
        ("words", "three words or more", "", words >= 3),
    ]  # fmt: skip


def bought_tables(job: Job) -> tuple[list[Table], dict[str, str]]:
    """Judge by product types searched and products bought, and by what shoppers typed.

    Each has a table of shoppers who are known and, where a fusion is tuned, one of the same
    searches by strangers.
    """
    plan = job.plan
    if TEXT not in {m.source for m in plan.models}:
        raise OptionError("a search needs the text model to find candidates: name text in --models")
    if why := unsuited(TEXT, job.dataset):
        raise SplitError(f"{job.dataset.path}: nothing can be searched for, {why}")
    first, *others = _searches(job)
    ranked = rank_rows(job, first.asked, _searched)
    table = make_table(job, first.asked, ranked.entries, first.title, ranked.skipped)
    tables = [with_extras(table, job, first.asked, ranked)]
    for other in others:
        rows = rank_again(job, other.asked, ranked, _searched)
        tables.append(make_table(job, other.asked, rows, other.title))
    if ranked.tuned is not None:
        tables += [_strangers(job, searches, ranked) for searches in (first, *others)]
    skipped = dict.fromkeys(
        [row for row in plan.rows if row.startswith("popular")], "the question is a query"
    )
    return tables, {**skipped, **ranked.skipped}


@dataclass(frozen=True, slots=True, eq=False)
class _Searches:
    """Searches of one kind, a text for each question."""

    title: str
    asked: Asked


def _searches(job: Job) -> list[_Searches]:
    """Return the kinds of searches there are; raises SplitError where there are none."""
    _check_words(job)
    known, wanted = job.parts.known, job.parts.wanted
    items, times = job.dataset.items, job.dataset.info.times
    users, seed = job.plan.users, job.plan.seed
    code = code_of("models.fusion.queries")
    key = {"parts": job.key, "users": users, "seed": seed, "code": code}
    kinds = (
        ("Product types searched, products bought", {"searches": True},
         basket_searches(items, known, wanted, times=times, users=users, seed=seed)),
        ("Searches as shoppers typed them, and what they led to", {"searches": "typed"},
         typed_searches(known, wanted, users=users, seed=seed)),
    )  # fmt: skip
    found = [
        _Searches(title, Asked(task, {**key, **kind}, "SEARCH", texts))
        for title, kind, (task, texts) in kinds
        if texts
    ]
    if not found:
        raise SplitError(
            f"{job.dataset.path}: nobody judged has a history and bought, afterwards, anything of "
            f"a category or by a query ({job.parts.note}); import more events"
        )
    return found


def _check_words(job: Job) -> None:
    """Raise SplitError where there is nothing that anybody could have asked for."""
    if not typed(job.parts.wanted).height and not (job.dataset.items["category"] != "").any():
        raise SplitError(
            f"{job.dataset.path}: no item has a category and no event judged a query, so nothing "
            "was searched for; import one of them (--map items.category=COLUMN, --map "
            "query=COLUMN) or rated queries"
        )


def _strangers(job: Job, searches: _Searches, ranked: Ranked) -> Table:
    """Put the same searches to those models that have something to say to a stranger: text."""
    asked = searches.asked
    unknown = replace(asked, task=by_strangers(asked.task), key={**asked.key, "who": "strangers"})
    reading = {n: s for n, s in ranked.sources.found.items() if s.model.source == TEXT}
    sources = replace(ranked.sources, found=reading)
    answers = _searched(job, unknown, sources)
    rows = model_entries(job, sources, answers, sources)
    rows += [_best_sellers(job, entry) for entry in rows]
    if ranked.tuned is not None:
        rows += Together(job, unknown, sources, answers).ways(*ranked.tuned)
    return make_table(job, unknown, rows, f"{searches.title}: by strangers")


def _best_sellers(job: Job, found: Entry) -> Entry:
    """Return what a model found in the order in which it sells: all that a stranger needs?"""
    sold = job.parts.known.filter(pl.col("type") != "dislike")["item_key"].to_numpy()
    keys = np.append(0, job.dataset.items["item_key"].sort().to_numpy())
    count = np.bincount(np.searchsorted(keys, sold), minlength=len(keys))
    # What pads a list stays behind it.
    count[0] = -1
    order = np.argsort(-count[np.searchsorted(keys, found.ranked)], axis=1, kind="stable")
    ranked = np.take_along_axis(found.ranked, order, axis=1)
    note = "what it found, best sellers of all time first"
    return replace(found, name=f"{found.name}, by sales", kind="baseline", ranked=ranked, note=note)


def _searched(job: Job, asked: Asked, sources: Sources) -> dict[str, Answers]:
    """Let the text model find candidates, and every model put them in its own order."""
    finder = sources.fused()[TEXT]
    found = {}
    for label, source in sources.found.items():
        own = source.model.source == TEXT
        engines = {label: source.engine}
        if not own:
            engines[TEXT] = finder.engine
        name = label if own else TEXT
        key = {
            "source": source.key,
            "finder": finder.key,
            "depth": job.plan.depth,
            "asking": digest(str(job.plan.asking)),
            "code": code_of("models.fusion.queries", "artifacts.engines.text"),
        }

        def make(_: Progress, engines: dict[str, Engine] = engines, name: str = name) -> Lists:
            asking = (asked.task, asked.texts)
            lists = search_lists(engines, name, asking, job.plan.depth, job.plan.asking)
            return by_score(lists[next(iter(engines))])

        found[label] = kept(job, asked, (f"searches by {label}", key), make)
    return found
