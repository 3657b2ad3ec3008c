"""Ranking for everyone in every way that is a row: each ranking is kept and found again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from artifacts.fusion import FusionArtifact
from cli.evaluation.plan import RECENT_DAYS
from cli.evaluation.training import Job, Sources
from cli.evaluation.variety import Varied, changes
from cli.evaluation.ways import Trends, Way, offline, trends_of, ways
from models.evaluate.fused import Fuse, Shopper, rank_fused
from models.evaluate.judge import Entry
from models.evaluate.metrics import Keys
from models.evaluate.popularity import PopularityEngine, recently_popular
from models.evaluate.ranking import Lists, rank
from models.evaluate.rrf import reciprocal_rank_fusion
from models.evaluate.task import Task, of_users
from models.evaluate.work import Arrays, code_of, digest
from models.fusion.asked import VISITS
from models.fusion.config import readers
from models.progress import Progress

# As many threads multiply matrices as in the gateway: small ones cost several times the CPU
# where OpenBLAS spreads them over all cores.
_THREADS = 1
# Users that a sweep over settings asks.
_SWEEP_USERS = 5000


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One set of questions, and how to tell it from any other."""

    task: Task
    key: Mapping[str, Any]
    surface: str = "HOME"
    texts: tuple[str, ...] = ()  # what each searched for


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one way to rank answered, and what it cost."""

    lists: Lists
    seconds: float
    cpu_ms: float  # a user
    key: str


def known_to(job: Job, asked: Asked) -> pl.DataFrame:
    """Return the events from which recent ones are taken, those before each question.

    Visits are asked about when they come, after what others did since the split.
    """
    if asked.surface not in VISITS:
        return job.parts.known
    return pl.concat([job.parts.known, job.parts.wanted])


def baselines(job: Job, asked: Asked) -> tuple[list[Entry], dict[str, str]]:
    """Rank by popularity; also return why a row is left out."""
    found: list[Entry] = []
    skipped: dict[str, str] = {}
    for name in (n for n in ("popular-7d", "popular") if n in job.plan.rows):
        if name == "popular-7d" and not asked.task.timed:
            skipped[name] = "events have no times"
            continue
        answers = popular(job, asked, recent=name == "popular-7d")
        note = (
            f"best sellers of the last {RECENT_DAYS:g} days"
            if name == "popular-7d"
            else ("best sellers of all time")
        )
        found.append(_entry(name + job.suffix, "baseline", answers, note))
    return found, skipped


def popular(job: Job, asked: Asked, *, recent: bool = False) -> Answers:
    """Rank by the best sellers of the last days before asking, or of all time."""
    depth = max(job.plan.depth, *job.plan.ks)
    name = "popular-7d" if recent else "popular"

    def make(progress: Progress) -> Lists:
        task = asked.task
        if recent:
            known = known_to(job, asked)
            return recently_popular(known, task, depth, days=RECENT_DAYS, progress=progress)
        engine = PopularityEngine(job.parts.known)
        return rank(engine, task, depth, job.plan.asking, progress)

    key = {"row": name, "depth": depth, "code": code_of("models.evaluate.popularity")}
    return kept(job, asked, (name, key), make)


def alone(job: Job, asked: Asked, sources: Sources) -> dict[str, Answers]:
    """Rank by each model by itself, by label."""
    depth = max(job.plan.depth, *job.plan.ks)
    able = readers({label: source.engine for label, source in sources.found.items()})
    found = {}
    for label in able:
        source = sources.found[label]
        key = {
            "source": source.key,
            "depth": depth,
            "asking": digest(str(job.plan.asking)),
            "code": code_of("models.evaluate.ranking", "artifacts.engines.text"),
        }

        def make(progress: Progress, engine: Any = source.engine) -> Lists:
            return rank(engine, asked.task, depth, job.plan.asking, progress)

        found[label] = kept(job, asked, (label, key), make)
    return found


def model_entries(
    job: Job, sources: Sources, answers: Mapping[str, Answers], trained: Sources
) -> list[Entry]:
    """Return the rows of the models; `trained` names how long the first training took."""
    entries = []
    for label, found in answers.items():
        source = sources.found[label]
        said = ", ".join(f"{name}={value}" for name, value in source.model.options.items())
        seconds = trained.found[label].seconds
        if source is not trained.found[label] and seconds is not None:
            seconds += source.seconds or 0.0
        entry = _entry(label + job.suffix, "model", found, said)
        version = int(source.engine.manifest.version)
        entries.append(replace(entry, version=version, seconds_train=seconds))
    return entries


class InVisit:
    """Fuses what is known of a visit under way, and hides it, as the shop does that serves it.

    The models name what the visit holds like anything else.
    """

    def __init__(self, fuse: Fuse, surface: str) -> None:
        """On SESSION the visit may be shown and is not; on CART a rule hides it."""
        self._fuse = fuse
        self._session = surface == "SESSION"

    def __call__(self, shopper: Shopper, k: int) -> Keys:
        """Return the keys of the best `k` items that the visit does not hold."""
        known = np.unique(shopper.history)
        if not self._session:
            shopper = replace(shopper, seen=known)
        found = self._fuse(shopper, k + len(known))
        return found[~np.isin(found, known)][:k]


class Together:
    """Ranks by the fused sources, in one way after another."""

    def __init__(
        self, job: Job, asked: Asked, sources: Sources, answers: Mapping[str, Answers]
    ) -> None:
        self._job, self._asked = job, asked
        able = {n: s for n, s in sources.fused().items() if s.model.label in answers}
        self._answers = {name: answers[s.model.label] for name, s in able.items()}
        depth = job.plan.depth
        self._lists = {
            name: Lists(a.lists.keys[:, :depth], a.lists.scores[:, :depth])
            for name, a in self._answers.items()
        }
        self._cpu_ms = sum(a.cpu_ms for a in self._answers.values())

    def rrf(self) -> list[Entry]:
        """Rank by reciprocal rank fusion."""
        return [self._entry("rrf", self.by_ranks(), "reciprocal ranks, nothing tuned")]

    def by_ranks(self) -> Answers:
        """Return the ranking by reciprocal ranks."""
        key = {"row": "rrf", "code": code_of("models.evaluate.rrf")}
        return self._fuse("rrf", key, lambda: reciprocal_rank_fusion, self._asked)

    def one(self, way: Way, artifact: FusionArtifact, key: str) -> Answers:
        """Return the ranking in one way; `key` tells the artifact from any other."""
        return self._way(artifact, way, (key, self._trends(artifact)), self._asked)

    def ways(self, artifact: FusionArtifact, key: str) -> list[Entry]:
        """Rank in every way there is; `key` tells the artifact from any other."""
        task, surface = self._asked.task, self._asked.surface
        trends = self._trends(artifact)
        entries = []
        for way in ways(artifact, self._job.plan.rows, surface, timed=task.timed):
            answers = self._way(artifact, way, (key, trends), self._asked)
            entries.append(self._entry(way.name, answers, way.note, artifact.version))
        return entries

    def sweep(self, artifact: FusionArtifact, key: str) -> tuple[Answers, Asked]:
        """Rank with more and more variety, for the first users; return these too.

        The ranking is that of `Varied`: every setting's, one after another.
        """
        drawn = np.arange(min(len(self._asked.task.user_ids), _SWEEP_USERS))
        some = replace(
            self._asked,
            task=of_users(self._asked.task, drawn),
            key={**self._asked.key, "first": len(drawn)},
        )
        way = Way("variety, every setting", "fused", "", lambda own: own)
        return self._way(artifact, way, (key, self._trends(artifact)), some, len(changes())), some

    def _trends(self, artifact: FusionArtifact) -> Trends:
        job = self._job
        known = known_to(job, self._asked)
        return trends_of(artifact, self._asked.task, job.dataset.items, known)

    def _way(
        self,
        artifact: FusionArtifact,
        way: Way,
        given: tuple[str, Trends],
        asked: Asked,
        settings: int = 1,
    ) -> Answers:
        key = {
            "fusion": given[0],
            "quantiles": digest({n: q[1].tolist() for n, q in artifact.quantiles.items()}),
            "row": way.name,
            "surface": asked.surface,
            "code": code_of("cli.evaluation.ways"),
        }

        def fuse() -> Fuse:
            fusion = offline(
                artifact,
                way,
                self._job.dataset.items,
                sources=tuple(self._lists),
                trends=given[1],
                surface=asked.surface,
            )
            if asked.surface in VISITS:
                return InVisit(fusion, asked.surface)
            return fusion if settings == 1 else Varied(fusion)

        return self._fuse(way.name, key, fuse, asked, settings)

    def _fuse(
        self,
        name: str,
        key: Mapping[str, Any],
        fuse: Callable[[], Fuse],
        asked: Asked,
        settings: int = 1,
    ) -> Answers:
        """Rank by a fusion, which is only made if the ranking is not there yet.

        It ranks `settings` times at once, one ranking after another.
        """
        size = len(asked.task.user_ids)
        lists = {n: Lists(a.keys[:size], a.scores[:size]) for n, a in self._lists.items()}
        most, asking = settings * max(self._job.plan.ks), self._job.plan.asking

        def make(progress: Progress) -> Lists:
            ranked = rank_fused(
                fuse(), asked.task, lists, k=most, asking=asking, texts=asked.texts,
                progress=progress,
            )  # fmt: skip
            return Lists(ranked, np.full(ranked.shape, np.nan, np.float32))

        whole = {
            **key,
            "answers": {n: a.key for n, a in self._answers.items()},
            "ks": most,
            "depth": self._job.plan.depth,
            "fused": code_of("models.evaluate.fused"),
        }
        return kept(self._job, asked, (name, whole), make)

    def _entry(self, name: str, answers: Answers, note: str, version: int | None = None) -> Entry:
        entry = _entry(name + self._job.suffix, "fusion", answers, note)
        return replace(entry, version=version, cpu_ms=entry.cpu_ms + self._cpu_ms)


def kept(
    job: Job,
    asked: Asked,
    named: tuple[str, Mapping[str, Any]],
    make: Callable[[Progress], Lists],
) -> Answers:
    """Return a ranking that was made before, or make it and take its time.

    `named` is what is ranked, and a key that tells it from any other ranking for the
    same questions.
    """
    name, key = named
    whole = {**key, "asked": asked.key, "threads": _THREADS}

    def measured() -> Arrays:
        progress = job.stages(f"rank {name}{job.suffix}")
        began, cpu = time.perf_counter(), time.process_time()
        with threadpool_limits(_THREADS, "blas"):
            lists = make(progress)
        spent = np.array([time.perf_counter() - began, time.process_time() - cpu])
        return {"keys": lists.keys, "scores": lists.scores, "seconds": spent}

    arrays = job.work.arrays("ranking", whole, measured)
    seconds, cpu = arrays["seconds"].tolist()
    each = 1000 * cpu / max(len(asked.task.user_ids), 1)
    return Answers(Lists(arrays["keys"], arrays["scores"]), seconds, each, digest(whole))


def _entry(name: str, kind: str, answers: Answers, note: str) -> Entry:
    ranked = answers.lists.keys
    return Entry(name, kind, ranked, note, None, None, answers.seconds, answers.cpu_ms)
