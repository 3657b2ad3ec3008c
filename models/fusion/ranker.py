"""A surface's learned ranker: trained, compared with what it would replace, kept if better.

The one idea: a ranker must earn its place. Some shoppers' questions are kept from the
training; where the weighted sum ranks those as well, the artifact stays as it is. Where
they are few, as with a single target each in two hundred carts, chance would decide: then
other shoppers judge a network that has not seen them, until enough questions are judged.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from artifacts.engine import Engine
from artifacts.formulas import Floats
from artifacts.fusion import NETWORK, FusionArtifact
from artifacts.ranker.features import named, names
from artifacts.ranker.network import Network
from artifacts.ranker.ranker import LearnedRanker
from artifacts.ranker.shelf import selling
from models.fusion.asked import Questions
from models.fusion.cases import Case
from models.fusion.config import Config
from models.fusion.network import train_network
from models.fusion.search import blend
from models.fusion.surfaces import shopper_of
from models.fusion.tables import Known, Table, make_tables, unanswered
from models.fusion.variety import Question, afford, with_diversity
from models.progress import Progress, part

# Share of the shoppers whose questions judge a ranker before it is published, and how many
# questions must be judged before no further share is asked.
_JUDGES, _ENOUGH = 0.15, 500
# Preferences of a usual answer's best and of its middle candidate.
_BEST, _MIDDLE = 0.8, 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """NDCG of rankers and of what they would replace, on shoppers they did not learn from."""

    ranker: list[float] = field(default_factory=list)
    convex: list[float] = field(default_factory=list)
    # The same where no source answers: what sells would be replaced.
    alone: list[float] = field(default_factory=list)
    selling: list[float] = field(default_factory=list)
    # As the rankers answer them, with sources.
    questions: list[Question] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Questions of a window on a surface: whom they are put to, and what was known."""

    surface: str
    engines: Mapping[str, Engine]
    asked: Sequence[Questions]
    known: Known


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What the sources answered on a surface, and what serving will look up."""

    tables: Sequence[Table]  # of the held-out window
    sources: tuple[str, ...]  # those that the features begin with
    habits: Floats  # of the artifact's items, by all events [n, H]
    earlier: Sequence[Table] = ()  # of a window before: they teach, and judge nothing
    # Of the held-out window as if no source had answered: they judge that case alone.
    unanswered: Sequence[Table] = ()
    surface: str = "HOME"


def learn_ranker(
    config: Config,
    lessons: tuple[Lesson, Lesson | None],
    habits: Floats,
    artifact: FusionArtifact,
    progress: Progress,
) -> tuple[FusionArtifact, dict[str, float]]:
    """Ask the sources about the held-out window and the one before, if there is one.

    Returns `with_ranker` of their answers; `habits` [n, H] are those of all events.
    """
    lesson, earlier = lessons
    tables = tables_of(config, lesson, part(progress, 0, 0.3))
    before: list[Table] = []
    if earlier is not None:
        before = tables_of(config, earlier, part(progress, 0.3, 0.5))
        before += unanswered_of(config, earlier)
    taught = Taught(
        tables, tuple(lesson.engines), habits, before, unanswered_of(config, lesson),
        surface=lesson.surface,
    )  # fmt: skip
    return with_ranker(config, artifact, taught, part(progress, 0.5, 1))


def tables_of(config: Config, lesson: Lesson, progress: Progress) -> list[Table]:
    """Put a lesson's questions to its sources."""
    tables = make_tables(config, lesson.asked, lesson.engines, lesson.known, progress)
    return _by_shopper(lesson, tables)


def unanswered_of(config: Config, lesson: Lesson) -> list[Table]:
    """Return some of a lesson's questions as they are had no source answered."""
    sources = tuple(lesson.engines)
    return _by_shopper(lesson, unanswered(lesson.asked, sources, lesson.known, config.asking))


def _by_shopper(lesson: Lesson, tables: Iterable[Table]) -> list[Table]:
    """Return tables that name shoppers; those of visits name these."""
    if lesson.surface == "HOME":
        return [*tables]
    return [replace(table, user=shopper_of(table.user)) for table in tables]


def with_ranker(
    config: Config, artifact: FusionArtifact, taught: Taught, progress: Progress
) -> tuple[FusionArtifact, dict[str, float]]:
    """Return the artifact with a ranker, and metrics; unchanged where the ranker is no better.

    Too few questions teach nothing: the weighted sum stays. The ranker that is kept learns
    once more, from the judges' questions too.
    """
    tables, sources, surface = taught.tables, taught.sources, taught.surface
    if len(tables) < config.least_questions:
        return artifact, {f"{surface}.ranker.questions": float(len(tables))}
    every = [*tables, *taught.earlier, *taught.unanswered]
    judged = _judged(config, artifact, taught, part(progress, 0, 0.5))
    metrics = {
        f"{surface}.ranker.questions": float(len(every)),
        f"{surface}.ranker.judged": float(len(judged.questions)),
        f"{surface}.ranker.ndcg@{config.k}": _mean(judged.ranker),
        f"{surface}.ranker.convex.ndcg@{config.k}": _mean(judged.convex),
        f"{surface}.ranker.alone.ndcg@{config.k}": _mean(judged.alone),
        f"{surface}.ranker.selling.ndcg@{config.k}": _mean(judged.selling),
    }
    if _mean(judged.ranker) <= _mean(judged.convex):
        return artifact, metrics
    afforded = afford(judged.questions, artifact.vectors, config.variety_cost)
    whole = train_network(config, every, len(sources), part(progress, 0.5, 1))
    learned = _ranker(artifact, taught, whole, every)
    alone = _mean(judged.alone) > _mean(judged.selling)
    made = replace(
        artifact,
        settings=replace(artifact.settings, ranker=NETWORK),
        surface_settings=with_diversity(artifact.surface_settings, surface, afforded),
        rankers={**artifact.rankers, surface: replace(learned, alone=alone)},
    )
    return made, {**metrics, **afforded.metrics(f"{surface}.ranker")}


def _ranker(
    artifact: FusionArtifact, taught: Taught, network: Network, learning: Sequence[Table]
) -> LearnedRanker:
    """Return a network as a ranker, its scores brought to 0..1 by what it learned from.

    By questions that sources answered: these are the usual ones.
    """
    count = len(taught.sources)
    usual = [table.features for table in learning if named(table.features, count).any()]
    centre, spread = _range([network.score(features) for features in usual])
    return LearnedRanker(
        sources=taught.sources,
        network=network,
        centre=centre,
        spread=spread,
        item_keys=artifact.item_keys,
        habits=taught.habits,
        usual=taught.habits.mean(axis=0),
    )


def _judged(config: Config, artifact: FusionArtifact, taught: Taught, progress: Progress) -> Judged:
    """Judge share after share of the shoppers, each by a network of the others' questions."""
    tables, sources = taught.tables, taught.sources
    users = sorted({table.user for table in tables})
    lot = np.random.default_rng(config.seed).random(len(users))
    share = dict(zip(users, (lot // _JUDGES).astype(int).tolist(), strict=True))
    summed_up = partial(_summed, artifact, taught.surface, sources)
    judged = Judged()
    shares = int(np.ceil(1 / _JUDGES))
    every = (*tables, *taught.earlier, *taught.unanswered)
    for number in range(shares):
        judging = _of_share(taught, tables, share, number)
        learning = [table for table in every if share.get(table.user) != number]
        if not judging or not learning:
            continue
        report = part(progress, number / shares, (number + 1) / shares)
        network = train_network(config, learning, len(sources), report)
        ranker = _ranker(artifact, taught, network, learning)
        for table in judging:
            preference = ranker.preference(table.features)
            asked = Question(table.user, preference, table.rows, table.target, table.wanted)
            judged.questions.append(asked)
            judged.ranker.append(ndcg(table, network.score(table.features), config.k))
            judged.convex.append(ndcg(table, summed_up(table), config.k))
        for table in _of_share(taught, taught.unanswered, share, number):
            judged.alone.append(ndcg(table, network.score(table.features), config.k))
            judged.selling.append(ndcg(table, _sold(sources, table), config.k))
        if len(judged.questions) >= _ENOUGH:
            break
    return judged


def _of_share(
    taught: Taught, tables: Sequence[Table], share: Mapping[str, int], number: int
) -> list[Table]:
    """Return the questions of a share of the shoppers, as they are judged."""
    judging = [table for table in tables if share.get(table.user) == number]
    if taught.surface != "SESSION":
        return judging
    # Neither way is to win by what the session holds.
    return [_fresh(table, taught.sources) for table in judging]


def _sold(sources: Sequence[str], table: Table) -> Floats:
    """Return what is shown first where no source answers and no ranker is asked [P]."""
    columns = dict(zip(names(sources), table.features.T, strict=True))
    return selling(columns["popularity"], columns["trend"])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _range(scores: Sequence[Floats]) -> tuple[float, float]:
    """Return (centre, spread) that bring a usual answer's best and middle to where they belong."""
    best = float(np.mean([score.max() for score in scores]))
    middle = float(np.mean([np.median(score) for score in scores]))
    high, low = np.log(_BEST / (1 - _BEST)), np.log(_MIDDLE / (1 - _MIDDLE))
    spread = max((best - middle) / (high - low), 1e-3)
    return float(best - spread * high), float(spread)


def _fresh(table: Table, sources: Sequence[str]) -> Table:
    """Return a question without what the visit held already."""
    times = names(sources).index("times")
    return table.only(table.features[:, times] == 0)


def _summed(artifact: FusionArtifact, surface: str, sources: Sequence[str], table: Table) -> Floats:
    """Return the surface's weighted sum with its terms, as it is served, of a question [P]."""
    columns = dict(zip(names(sources), table.features.T, strict=True))
    settings = artifact.settings_for(surface)
    # A search names what is wanted: there is no such term (gateway/fusion/cross_domain.py).
    crossing = 0.0 if surface == "SEARCH" else settings.w_cross_domain
    case = Case(
        calibrated=np.stack([columns[f"{source}.score"] for source in sources]),
        answered=np.asarray(named(table.features, len(sources)).any(axis=0)),
        terms=np.stack([columns["trend"], columns["crossing"]]),
        target=table.target,
        wanted=table.wanted,
        rows=table.rows,
    )
    weights = np.array([artifact.weights[surface].get(s, 0.0) for s in sources], np.float32)
    terms = np.array([settings.w_trend, crossing], np.float32)
    (scores,) = blend(case, weights[None], terms[None])
    found: Floats = scores
    return found


def ndcg(table: Table, scores: Floats, k: int) -> float:
    """Return NDCG@k of a question's candidates by their scores; a target's weight is its gain.

    Targets that are no candidates have the gain 1.
    """
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = np.argsort(-scores, kind="stable")[:k]
    if table.weight is None:
        found = table.target[best] @ discount[: len(best)]
        return float(found / discount[: min(table.wanted, k)].sum())
    gains = table.target * table.weight
    rest = max(table.wanted - int(table.target.sum()), 0)
    ideal = np.sort(np.append(gains[table.target], np.ones(rest)))[::-1][:k]
    return float(gains[best] @ discount[: len(best)] / (ideal @ discount[: len(ideal)]))
