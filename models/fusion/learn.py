"""What the fusion learns, surface by surface.

Weights that cannot be tuned (no held-out events, no text source) are defaults:
equal among the sources that read histories; on SEARCH the text source has 0.6, and
ITEM's are always the same (_SIMILAR). Few questions tell HOME which sources know
something, and nothing finer.
RANK blends HOME's weights with SEARCH's share for text, so that it is HOME
where the caller gives no query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from artifacts.engine import Engine
from artifacts.formulas import Floats
from artifacts.fusion import FusionArtifact, FusionSettings
from artifacts.ranker.shelf import LEADING_ON
from models.data.dataset import Dataset
from models.evaluate.ranking import rank
from models.evaluate.task import Task, make_task
from models.fusion import surfaces
from models.fusion.asked import VISITS
from models.fusion.cases import TERMS, Case, Setting, build_cases
from models.fusion.catalogue import (
    domain_tables,
    make_catalogue,
    popularity_of,
)
from models.fusion.config import TEXT, Config, Window, quantiles_of, readers
from models.fusion.exposures import Weigh, learn_weights
from models.fusion.propensity import Examination
from models.fusion.queries import search_lists, search_task
from models.fusion.rankers import excludes_seen, learn_rankers, setting_of
from models.fusion.search import Found, blend, search
from models.fusion.variety import Afforded, Question, afford, with_diversity
from models.progress import Progress, part

# On SEARCH relevance dominates: the text source keeps at least this much.
_TEXT_LEAST = 0.5
_TEXT_DEFAULT = 0.6
# ITEM asks what could be taken instead. Events say what is taken besides, and tuned on
# them the surface fills with what sells with everything, so what an item is decides.
_SIMILAR = {TEXT: 0.45, "content": 0.45, "cf": 0.1}
# Not a surface but a moment of HOME: only its term is kept.
_LIVE = "LIVE"
# Adjustments searched on each surface; the rest are HOME's, but 0 on ITEM and CART:
# what is popular sells with everything, and would be called similar to everything.
_SEARCHED: Mapping[str, tuple[str, ...]] = {
    "HOME": ("trend", "cross_domain"),
    _LIVE: ("session",),
    "SESSION": ("trend",),
    "CART": (),
}
_SEARCHED_BY_QUERY = ("trend",)
# Fewer questions say more of chance than of terms, and of how a surface differs from HOME.
_FEWEST = 50
# With fewer even equal weights are the better guess on HOME (docs/fusion.md).
_FEWEST_AT_HOME = 5
_ABOUT_ITEMS = {"w_trend": 0.0, "w_cross_domain": 0.0}
Weights = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """What the surfaces' searches found so far."""

    weights: Weights = field(default_factory=dict)
    terms: Weights = field(default_factory=dict)  # surface -> "w_..." -> value
    metrics: dict[str, float] = field(default_factory=dict)
    variety: dict[str, Afforded] = field(default_factory=dict)  # by surface


def learn(
    config: Config,
    dataset: Dataset,
    engines: Mapping[str, Engine],
    given: tuple[Floats, Window],
    progress: Progress,
) -> tuple[FusionArtifact, dict[str, float]]:
    """Return the artifact and its metrics; `given` is (item vectors [n, d], window)."""
    vectors, window = given
    weighed = _weighed(config)
    catalogue = make_catalogue(dataset.items, vectors)
    ordered = dataset.info.times != "none"
    transition, prior = domain_tables(catalogue, dataset.events, ordered=ordered)
    tuned = _defaults(engines)
    quantiles = {name: quantiles_of(engine) for name, engine in engines.items()}
    held: Setting | None = None
    if window.wanted.height:
        held = setting = setting_of(config, catalogue, engines, window, ordered=ordered)
        _tune_surfaces(config, dataset, engines, (setting, window, tuned), part(progress, 0, 0.5))
        if TEXT in engines:
            report = part(progress, 0.5, 0.6)
            _tune_search(config, dataset, engines, (setting, window, tuned), report)
    tuned.weights["RANK"] = _rank_weights(tuned.weights)
    artifact = FusionArtifact(
        item_keys=catalogue.keys,
        vectors=catalogue.vectors,
        popularity=popularity_of(catalogue, dataset.events),
        domain_names=catalogue.domain_names,
        domain_transition=transition,
        domain_prior=prior,
        weights=tuned.weights,
        quantiles=quantiles,
        settings=_settings(config, tuned),
        surface_settings=_surface_settings(tuned),
        tuned_on={name: int(engine.manifest.version) for name, engine in engines.items()},
    )
    if held is None or not config.ranker or dataset.info.times != "time":
        return artifact, tuned.metrics
    weigh = None
    if weighed is not None:
        weigh = weighed[0]
        tuned.metrics.update(_looked_at(weighed[1]))
    ranked, metrics = learn_rankers(
        config, dataset, engines, (artifact, held, window, weigh), part(progress, 0.6, 1)
    )
    return ranked, {**tuned.metrics, **metrics}


def _weighed(config: Config) -> tuple[Weigh, Examination] | None:
    """Return how the ranker's targets are weighed, where exposure logs are named."""
    if not config.exposures:
        return None
    return learn_weights([Path(path) for path in config.exposures], config.exposure_most)


def _looked_at(found: Examination) -> dict[str, float]:
    """Return what was found of examination, as metrics."""
    metrics = {"HOME.exposures.followed": float(found.followed)}
    for place, chance in zip(found.firsts.tolist(), found.chances.tolist(), strict=True):
        metrics[f"HOME.examination.place_{place}"] = chance
    return metrics


def _tune_surfaces(
    config: Config,
    dataset: Dataset,
    engines: Mapping[str, Engine],
    given: tuple[Setting, Window, Tuned],
    progress: Progress,
) -> None:
    setting, window, tuned = given
    sources = readers(engines)
    tasks = _tasks(config, dataset, window) if sources else {}
    for number, (surface, task) in enumerate(tasks.items()):
        report = part(progress, number / len(tasks), (number + 1) / len(tasks))
        questions = len(task.user_ids)
        tuned.metrics[f"{surface}.questions"] = float(questions)
        enough = questions >= _FEWEST
        if questions < (_FEWEST_AT_HOME if surface == "HOME" else _FEWEST):
            if surface != _LIVE:
                # What was found for HOME, or its defaults, is the nearest that is known.
                tuned.weights[surface] = dict(tuned.weights["HOME"])
            continue
        lists = {name: rank(engines[name], task, config.depth, config.asking) for name in sources}
        report(1, 2, f"{surface}: {questions:,} questions answered")
        session = surfaces.SESSION if surface in (_LIVE, "SESSION") else 0
        leads = surface == _LIVE or surface in LEADING_ON
        asked = replace(setting, session=session, visit=surface in VISITS, leads=leads)
        cases = build_cases(task, lists, sources, asked)
        searched = _SEARCHED[surface] if enough else ()
        beside = _beside(surface, searched, tuned)
        found = search(cases, len(sources), searched, k=config.k, beside=beside)
        report(2, 2, f"{surface}: weights found")
        _keep(tuned, surface, sources, found, config.k)
        if surface != _LIVE and enough:
            answered = [*map(_question, _shoppers(task, surface, dataset), cases, repeat(found))]
            afforded = afford(answered, setting.catalogue.vectors, config.variety_cost)
            tuned.variety[surface] = afforded
            tuned.metrics.update(afforded.metrics(surface))


def _beside(surface: str, searched: Sequence[str], tuned: Tuned) -> Floats:
    """Return the weights of the terms that are served beside those `searched` on a surface [T].

    The affinity is served beside rankers too, where the others are off: it is found alone.
    """
    if surface == _LIVE:
        return np.zeros(len(TERMS), np.float32)
    about = _ABOUT_ITEMS if surface == "CART" else {}
    served = {**tuned.terms.get("HOME", {}), **tuned.terms.get(_LIVE, {}), **about}
    usual = FusionSettings()
    return np.array(
        [
            0.0 if term in searched else served.get(name, getattr(usual, name))
            for term, name in ((term, f"w_{term}") for term in TERMS)
        ],
        np.float32,
    )


def _shoppers(task: Task, surface: str, dataset: Dataset) -> list[str]:
    """Return whose each question is: most are of visits, of which a shopper may have many."""
    if surface == "HOME" and dataset.info.times != "time":
        return [*task.user_ids]
    return [*map(surfaces.shopper_of, task.user_ids)]


def _question(user: str, case: Case, found: Found) -> Question:
    (scores,) = blend(case, found.weights[None], found.terms[None])
    return Question(user, scores, case.rows, case.target, case.wanted)


def _tasks(config: Config, dataset: Dataset, window: Window) -> dict[str, Task]:
    """Return the questions of each surface; without times, HOME asks for all that follows."""
    seed, most = config.seed, config.visits
    visited = partial(surfaces.visits, window.wanted, dataset.info.times, most=most, seed=seed)
    visits = visited()
    exclude = excludes_seen(config, window)
    if dataset.info.times == "time":
        events = pl.concat([window.known, window.wanted])
        ask = partial(surfaces.visit_task, events, exclude_seen=exclude, seed=seed)
        # Reviews and the like come one by one: then each is a visit.
        few = visits["user_id"].n_unique() < _FEWEST
        asked = visited(least=1) if few else visits
        over_time = {"HOME": ask(asked, given=0), _LIVE: ask(visits, given=surfaces.SESSION)}
    else:
        home = make_task(
            window.known, window.wanted, exclude_seen=exclude, users=config.users, seed=seed
        )
        over_time = {"HOME": home}
    return {
        **over_time,
        "SESSION": surfaces.session_task(visits, most, seed),
        "CART": surfaces.cart_task(visits, most, seed, exclude_seen=False),
    }


def _tune_search(
    config: Config,
    dataset: Dataset,
    engines: Mapping[str, Engine],
    given: tuple[Setting, Window, Tuned],
    progress: Progress,
) -> None:
    setting, window, tuned = given
    asked = search_task(
        dataset.items, window.known, window.wanted, searches=config.searches, seed=config.seed
    )
    tuned.metrics["SEARCH.questions"] = float(len(asked[1]))
    if len(asked[1]) < _FEWEST:
        return
    lists = search_lists(engines, TEXT, asked, config.depth, config.asking)
    progress(1, 2, f"SEARCH: {len(asked[1]):,} searches answered")
    sources = [*(name for name in readers(engines) if name != TEXT), TEXT]
    cases = build_cases(asked[0], lists, sources, setting)
    least = np.array([0.0] * (len(sources) - 1) + [_TEXT_LEAST], np.float32)
    found = search(cases, len(sources), _SEARCHED_BY_QUERY, k=config.k, least=least)
    progress(2, 2, "SEARCH: weights found")
    _keep(tuned, "SEARCH", sources, found, config.k)


def _keep(tuned: Tuned, surface: str, sources: list[str], found: Found, k: int) -> None:
    weights = [round(float(w), 6) for w in found.weights]
    if surface != _LIVE:
        tuned.weights[surface] = dict(zip(sources, weights, strict=True))
    name = f"{surface}.ndcg@{k}"
    tuned.metrics[name] = found.ndcg
    for source, value in zip(sources, found.alone, strict=True):
        tuned.metrics[f"{name}.{source}"] = float(value)
    for term, value in found.without.items():
        weight = round(float(found.terms[TERMS.index(term)]), 4)
        tuned.terms.setdefault(surface, {})[f"w_{term}"] = weight
        tuned.metrics[f"{name}.without_{term}"] = value


def _defaults(engines: Mapping[str, Engine]) -> Tuned:
    # Where none reads histories there is a text model alone, which weighs everything.
    names = readers(engines) or [TEXT]
    even = dict.fromkeys(names, 1 / len(names))
    surfaces = (surface for surface in _SEARCHED if surface != _LIVE)
    weights: Weights = {surface: dict(even) for surface in surfaces}
    others = [name for name in names if name != TEXT]
    text = 0.0 if TEXT not in engines else _TEXT_DEFAULT if others else 1.0
    similar = {name: _SIMILAR.get(name, 0.0) for name in names}
    total = sum(similar.values())
    weights["ITEM"] = {n: w / total for n, w in similar.items()} if total else even
    weights["SEARCH"] = {name: (1 - text) / len(others) for name in others}
    if text:
        weights["SEARCH"][TEXT] = text
    return Tuned(weights=weights)


def _surface_settings(tuned: Tuned) -> dict[str, Mapping[str, float]]:
    found: dict[str, Mapping[str, float]] = {
        **dict.fromkeys(("ITEM", "CART"), _ABOUT_ITEMS),
        **{s: tuned.terms[s] for s in ("SESSION", "SEARCH") if s in tuned.terms},
    }
    for surface, afforded in tuned.variety.items():
        found = with_diversity(found, surface, afforded)
    return found


def _settings(config: Config, tuned: Tuned) -> FusionSettings:
    aged = FusionSettings(
        trend_half_life_days=config.trend_half_life_days,
        history_half_life_days=config.asking.half_life_days,
        domain_calibration=config.domain_calibration,
        provider_share=config.provider_share,
    )
    found: dict[str, Any] = {**tuned.terms.get("HOME", {}), **tuned.terms.get(_LIVE, {})}
    return replace(aged, **found)


def _rank_weights(weights: Weights) -> dict[str, float]:
    text = weights["SEARCH"].get(TEXT, 0.0)
    blended = {name: weight * (1 - text) for name, weight in weights["HOME"].items()}
    if text:
        blended[TEXT] = blended.get(TEXT, 0.0) + text
    return blended
