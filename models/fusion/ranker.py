"""A surface's learned ranker: trained, compared with what it would replace, kept if better.

The one idea: a ranker must earn its place. Some shoppers' questions are kept from the
training; where the weighted sum ranks those as well, the artifact stays as it is. Where
they are few, as with a single target each in two hundred carts, chance would decide: then
other shoppers judge a network that has not seen them, until enough questions are judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from artifacts.engine import Engine
from artifacts.formulas import Floats
from artifacts.fusion import NETWORK, FusionArtifact
from artifacts.ranker.features import named, names
from artifacts.ranker.network import Network
from artifacts.ranker.ranker import LearnedRanker
from models.fusion.cases import Case
from models.fusion.config import Config
from models.fusion.network import train_network
from models.fusion.search import blend
from models.fusion.surfaces import shopper_of
from models.fusion.tables import Known, Questions, Table, make_tables
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

    ranker: float
    convex: float
    # As the rankers answer them.
    questions: Sequence[Question]


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
    before = [] if earlier is None else tables_of(config, earlier, part(progress, 0.3, 0.5))
    taught = Taught(tables, tuple(lesson.engines), habits, before, lesson.surface)
    return with_ranker(config, artifact, taught, part(progress, 0.5, 1))


def tables_of(config: Config, lesson: Lesson, progress: Progress) -> list[Table]:
    """Put a lesson's questions to its sources."""
    tables = make_tables(config, lesson.asked, lesson.engines, lesson.known, progress)
    if lesson.surface == "HOME":
        return tables
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
    every = [*tables, *taught.earlier]
    judged = _judged(config, artifact, taught, part(progress, 0, 0.5))
    metrics = {
        f"{surface}.ranker.questions": float(len(every)),
        f"{surface}.ranker.judged": float(len(judged.questions)),
        f"{surface}.ranker.ndcg@{config.k}": judged.ranker,
        f"{surface}.ranker.convex.ndcg@{config.k}": judged.convex,
    }
    if judged.ranker <= judged.convex:
        return artifact, metrics
    afforded = afford(judged.questions, artifact.vectors, config.variety_cost)
    whole = train_network(config, every, len(sources), part(progress, 0.5, 1))
    made = replace(
        artifact,
        settings=replace(artifact.settings, ranker=NETWORK),
        surface_settings=with_diversity(artifact.surface_settings, surface, afforded),
        rankers={**artifact.rankers, surface: _ranker(artifact, taught, whole, every)},
    )
    return made, {**metrics, **afforded.metrics(f"{surface}.ranker")}


def _ranker(
    artifact: FusionArtifact, taught: Taught, network: Network, learning: Sequence[Table]
) -> LearnedRanker:
    """Return a network as a ranker, its scores brought to 0..1 by what it learned from."""
    centre, spread = _range([network.score(table.features) for table in learning])
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
    asked: list[Question] = []
    learned: list[float] = []
    summed: list[float] = []
    shares = int(np.ceil(1 / _JUDGES))
    for number in range(shares):
        judging = [table for table in tables if share[table.user] == number]
        if taught.surface == "SESSION":
            # Neither way is to win by what the session holds.
            judging = [_fresh(table, sources) for table in judging]
        learning = [t for t in (*tables, *taught.earlier) if share.get(t.user) != number]
        if not judging or not learning:
            continue
        report = part(progress, number / shares, (number + 1) / shares)
        network = train_network(config, learning, len(sources), report)
        ranker = _ranker(artifact, taught, network, learning)
        for table in judging:
            preference = ranker.preference(table.features)
            asked.append(Question(table.user, preference, table.rows, table.target, table.wanted))
            learned.append(ndcg(table, network.score(table.features), config.k))
            summed.append(ndcg(table, summed_up(table), config.k))
        if len(asked) >= _ENOUGH:
            break
    return Judged(float(np.mean(learned or [0])), float(np.mean(summed or [0])), asked)


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
