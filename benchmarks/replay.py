"""Visits of a shop in the order of time, as the weighted sum sees them, and clicks on slates.

Every visit asks what is bought in it, given all before it. A slate is clicked as a
stated shopper would: an item that the visit really bought, if its place was examined, with
probability place ** -examination. Nothing else is made up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl

from artifacts.formulas import Floats
from artifacts.fusion import FusionArtifact
from gateway.fusion.adapt import (
    Bounds,
    Doubles,
    Evidence,
    Pace,
    begin,
    bounds_of,
    step,
    weights_of,
)
from models.data.dataset import Dataset
from models.evaluate.metrics import Keys
from models.evaluate.parts import Parts
from models.evaluate.ranking import Asking, Lists
from models.evaluate.task import Task, of_users
from models.fusion.cases import TERMS, Case, Setting, build_cases
from models.fusion.catalogue import MarketTrends, domain_tables, make_catalogue
from models.fusion.surfaces import visit_task, visits

K, SHOWN = 10, 20
_NO_KEYS: Keys = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """V visits, oldest first, and what the sources say in each."""

    sources: tuple[str, ...]
    well: Sequence[Case]
    ill: Sequence[Case]  # the same visits, one source answering noise
    terms: Floats  # weights of the adjustments [T]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to weigh: begins with `weights` [S]; adapts within bounds, or never."""

    name: str
    weights: Doubles
    pace: Pace | None = None
    bounds: Bounds | None = None


class Told(NamedTuple):
    """What became of an arm."""

    ndcg: Doubles  # of each visit [V]
    weights: Doubles  # before each visit [V, S]
    clicks: int


def timed_visits(dataset: Dataset, parts: Parts, most: int, seed: int) -> Task:
    """Return what is bought in each visit of `parts.wanted`, `most` of them, oldest first."""
    found = visits(parts.wanted, dataset.info.times, most=most, seed=seed)
    events = pl.concat([parts.known, parts.wanted])
    task = visit_task(events, found, given=0, exclude_seen=False, seed=seed)
    return of_users(task, np.argsort(task.now, kind="stable"))


def make_world(
    given: tuple[Dataset, Parts, FusionArtifact],
    task: Task,
    lists: Mapping[str, Lists],
    *,
    ill: str,
    seed: int,
) -> World:
    """Build the cases of a task's visits from what each source answered.

    The `ill` source names items drawn at random, with the scores it has at other times.
    """
    dataset, parts, artifact = given
    catalogue = make_catalogue(dataset.items, artifact.vectors)
    transition, _ = domain_tables(catalogue, parts.known, ordered=True)
    events = pl.concat([parts.known, parts.wanted])
    settings = artifact.settings_for("HOME")
    trends = MarketTrends(catalogue, events, settings.trend_half_life_days)
    known = catalogue, artifact.quantiles, Asking(), transition
    setting = Setting(*known, trends=trends, leads=True)
    noise = np.random.default_rng(seed).choice(catalogue.keys, lists[ill].keys.shape)
    spoilt = Lists(np.where(lists[ill].keys != 0, noise, 0), lists[ill].scores)
    return World(
        sources=tuple(lists),
        well=build_cases(task, lists, tuple(lists), setting),
        ill=build_cases(task, {**lists, ill: spoilt}, tuple(lists), setting),
        terms=np.array([getattr(settings, f"w_{term}") for term in TERMS], np.float32),
    )


def replay(world: World, arm: Arm, *, ill_from: float = 1.0, examination: float, seed: int) -> Told:
    """Show every visit a slate, and let the arm learn from its clicks.

    One source is ill from the share `ill_from` of the visits on. The same seed gives every
    arm the same shoppers: an item is clicked at a place by all or by none.
    """
    rng = np.random.default_rng(seed)
    count = len(world.well)
    ndcg, path = np.zeros(count), np.zeros((count, len(world.sources)))
    strengths, clicks = begin(arm.weights), 0
    discount = 1 / np.log2(np.arange(2, K + 2))
    examined = np.arange(1, SHOWN + 1) ** -examination
    for number in range(count):
        case = (world.ill if number >= ill_from * count else world.well)[number]
        path[number] = weights = weights_of(strengths)
        offset = world.terms @ case.terms
        share = _renormalised(weights, case.answered)
        order = np.argsort(-(share @ case.calibrated + offset), kind="stable")[:SHOWN]
        hits = case.target[order]
        ideal = discount[: min(case.wanted, K)].sum()
        ndcg[number] = hits[:K] @ discount[: len(hits[:K])] / ideal
        clicked = np.flatnonzero(hits & (rng.random(SHOWN) < examined)[: len(hits)])
        clicks += len(clicked)
        if arm.pace is None or arm.bounds is None:
            continue
        evidence = Evidence(
            keys=_NO_KEYS,
            calibrated=case.calibrated[:, order],
            offset=offset[order],
            answered=case.answered,
            free=np.ones(len(order), np.bool_),
        )
        for place in clicked.tolist():
            strengths = step(strengths, arm.bounds, evidence, (place, len(order)), arm.pace)
    return Told(ndcg, path, clicks)


def _renormalised(weights: Doubles, answered: np.ndarray) -> Floats:
    share = np.where(answered, weights, 0)
    found: Floats = (share / share.sum()).astype(np.float32)
    return found


def adaptive(name: str, weights: Doubles, pace: Pace, factor: float) -> Arm:
    """Return an arm that begins with `weights`, and stays within a factor of them."""
    return Arm(name, weights, pace, bounds_of(weights, factor))


def fixed(arm: Arm) -> Arm:
    """Return the arm that never learns."""
    return replace(arm, pace=None, bounds=None)
