"""The rankers of one fusion: what each surface's learns from, and who is asked.

Without an earlier window, or without visits, the surfaces that need them do with less,
or have none (ranker.py).
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from artifacts.engine import Engine
from artifacts.fusion import FusionArtifact
from artifacts.ranker.features import OWN_ON
from artifacts.ranker.shelf import LEADING_ON
from models.data.dataset import Dataset
from models.data.prices import as_of
from models.fusion import surfaces
from models.fusion.asked import RANKED, VISITS, questions
from models.fusion.cases import Setting
from models.fusion.catalogue import Catalogue, MarketTrends, domain_tables, popularity_of
from models.fusion.config import TEXT, Config, Window, quantiles_of, readers
from models.fusion.exposures import Weigh
from models.fusion.habits import item_habits
from models.fusion.ranker import Lesson, learn_ranker
from models.fusion.tables import Known, shelf_of
from models.progress import Progress, part


def learn_rankers(
    config: Config,
    dataset: Dataset,
    engines: Mapping[str, Engine],
    given: tuple[FusionArtifact, Setting, Window, Weigh | None],
    progress: Progress,
) -> tuple[FusionArtifact, dict[str, float]]:
    """Return the artifact with a ranker for each surface where it is better, and metrics.

    `given`: the artifact without, how the window's questions are made, the window, and
    what HOME's targets weigh.
    """
    artifact, setting, window, weigh = given
    catalogue, metrics = setting.catalogue, dict[str, float]()
    habits = item_habits(catalogue, dataset.events)
    asked = [(engines, known_of(dataset, setting, window), window)]
    if window.earlier is not None:
        then = window.earlier.window
        # One table, one order of columns, whatever order these were named in.
        sources = {name: window.earlier.engines[name] for name in engines}
        before = setting_of(config, catalogue, sources, then, ordered=True)
        asked.append((sources, known_of(dataset, before, then), then))
    # Whether shoppers buy again is the held-out window's to say.
    exclude_seen = excludes_seen(config, window)
    ranked = [surface for surface in able(engines) if config.ranker_visits or surface == "HOME"]
    for number, surface in enumerate(ranked):
        # HOME's many moments take half of the time.
        start = 0.5 + 0.16 * (number - 1) if number else 0.0
        report = part(progress, start, start + 0.16 if number else 0.5)
        lesson, *earlier = (
            lesson_of(
                config, dataset, sources, (known, seen),
                surface=surface, exclude_seen=exclude_seen,
                weigh=weigh if surface == "HOME" else None,
            )
            for sources, known, seen in asked
        )  # fmt: skip
        lessons = lesson, earlier[0] if earlier else None
        artifact, found = learn_ranker(config, lessons, habits, artifact, report)
        metrics |= found
    return artifact, metrics


def setting_of(
    config: Config,
    catalogue: Catalogue,
    engines: Mapping[str, Engine],
    window: Window,
    *,
    ordered: bool,
) -> Setting:
    """Return what questions of a window are made with: nothing that came after them."""
    quantiles = {name: quantiles_of(engine) for name, engine in engines.items()}
    past, _ = domain_tables(catalogue, window.known, ordered=ordered)
    events = pl.concat([window.known, window.wanted])
    trends = MarketTrends(catalogue, events, config.trend_half_life_days)
    return Setting(catalogue, quantiles, config.asking, past, trends=trends)


def known_of(dataset: Dataset, setting: Setting, window: Window) -> Known:
    """Return what is known of items when a window's questions are asked, on any surface."""
    catalogue = setting.catalogue
    items = as_of(dataset.items, window.known)
    shelf = shelf_of(items, setting, popularity_of(catalogue, window.known))
    last = (window.wanted["time"].dt.epoch("us") / 1e6).max()
    # To the end of its second: a shop's export may leave off what its exposure log tells of it.
    until = math.floor(last) + 1.0 if isinstance(last, float) else float("inf")
    return Known(setting, shelf, item_habits(catalogue, window.known), until=until)


def lesson_of(
    config: Config,
    dataset: Dataset,
    engines: Mapping[str, Engine],
    asked: tuple[Known, Window],
    *,
    surface: str = "HOME",
    exclude_seen: bool = False,
    weigh: Weigh | None = None,
) -> Lesson:
    """Return what a surface's ranker learns of a window; `asked`: what is known, the window."""
    known, window = asked
    setting = replace(known.setting, visit=surface in VISITS, leads=surface in LEADING_ON)
    # What is in a cart is never shown; of a session it may be, and is better not.
    again = surface != "CART"
    return Lesson(
        surface=surface,
        engines={name: engines[name] for name in asked_on(surface, engines)},
        asked=questions(config, surface, window, dataset.items, exclude_seen=exclude_seen),
        known=replace(known, setting=setting, weigh=weigh, own=surface in OWN_ON, again=again),
    )


def able(engines: Mapping[str, Engine]) -> list[str]:
    """Return the surfaces where these sources can teach a ranker.

    A text source alone, which reads no histories, answers searches and nothing else.
    """
    return [
        surface
        for surface in RANKED
        if asked_on(surface, engines) and (surface != "SEARCH" or TEXT in engines)
    ]


def asked_on(surface: str, engines: Mapping[str, Engine]) -> list[str]:
    """Return the sources that answer a surface's questions; a search has the one that reads it."""
    able = readers(engines)
    return [*able, TEXT] if surface == "SEARCH" and TEXT not in able else able


def excludes_seen(config: Config, window: Window) -> bool:
    """Say whether HOME is about items that shoppers did not have before."""
    if config.exclude_seen is not None:
        return config.exclude_seen
    return not surfaces.buys_again(window.known, window.wanted)
