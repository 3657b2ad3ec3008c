"""All models of a dataset, in the order in which they need each other.

The one idea: what the fusion is tuned on must be new to the models it weighs, or
the one that memorises best would weigh most. So the sources learn from all but
the last tenth of the events, the fusion from how well they foresaw that tenth (and its
ranker from how well they would have foreseen the one before), and only then, if asked,
the sources are fitted once more on everything.
"""

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from artifacts import layout
from artifacts import manifest as manifests
from artifacts.engine import Engine
from artifacts.loader import load
from models.data.dataset import Dataset
from models.data.errors import DatasetError, OptionError
from models.data.prices import as_of
from models.memory import enough_memory
from models.options import with_options
from models.progress import Progress, silent
from models.validation import Holdout, hold_out

# Text first: its encoder serves content too.
SOURCES = ("text", "cf", "sequence", "content")
FUSION = "fusion"
PRESETS = ("quick", "demo", "full")
# Given a stage of the work, returns what takes its progress.
Stages = Callable[[str], Progress]


# Models that read texts, with an encoder that has to be installed.
_READERS = ("content", "text")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What is trained, and how thoroughly."""

    sources: tuple[str, ...] = SOURCES
    # quick: seconds, to try the path; demo: minutes on two cores; full: as good as it gets.
    preset: str = "demo"
    # Tune the blend of the sources. Leave out to replace one source and keep the blend.
    fusion: bool = True
    # Share of the events, the last ones, that sources do not see and the fusion is tuned
    # on. More: steadier weights; less: fresher models.
    held_out: float = 0.1
    # Fit the sources on all events after the tuning: fresher models for twice the time.
    refit: bool = False
    seed: int = 0
    # Source or "fusion" -> field of its configuration -> value that replaces the preset's.
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """One published version."""

    source: str
    path: Path
    seconds: float
    megabytes: float
    metrics: Mapping[str, float]


def train_all(
    dataset: Dataset,
    repository: Path,
    config: TrainConfig,
    stages: Stages = lambda _: silent,
    published: Callable[[Trained], None] = lambda _: None,
) -> tuple[list[Trained], dict[str, str]]:
    """Train and publish; return the versions, and why sources were left out, by name.

    `published` hears of each version as soon as it is there: it stays, whatever comes
    after it. Raises DataError and ArtifactError with messages for people; DatasetError where no
    source is left, OptionError where one that is not trained knows what the fusion is tuned on.
    """
    _check_config(config, dataset)
    skipped = {s: why for s in config.sources if (why := unsuited(s, dataset))}
    sources = [s for s in SOURCES if s in config.sources and s not in skipped]
    held = hold_out(dataset.events, share=config.held_out)
    if config.fusion:
        _check_others(repository, sources, held)
    first = held.known if config.fusion else dataset.events
    places: dict[str, Any] = {"repository": repository, "config": config, "stages": stages}
    done, unable = _train_each(sources, dataset, first, **places, published=published)
    skipped |= unable
    if not done:
        raise DatasetError(f"{dataset.path}: no model can learn from it: {reasons(skipped)}")
    if not config.fusion:
        return done, skipped
    done.append(_fusion(dataset, held, **places))
    published(done[-1])
    if config.refit:
        again = [s for s in sources if s not in skipped]
        done += _refit(again, dataset, repository, config, stages, published)
    return done, skipped


def _check_config(config: TrainConfig, dataset: Dataset) -> None:
    """Tell of a wrong setting before anything is trained, not after all before it.

    One that would change nothing is wrong as well: whoever gave it would take what comes
    out for what it was to bring. Raises OptionError, SourceError for exposure logs, and
    EncoderMissing.
    """
    trained = (*config.sources, *([FUSION] if config.fusion else []))
    for name in trained:
        settings = config_of(name, config.preset, config.seed, config.options.get(name))
        if name in _READERS:
            importlib.import_module("models.text.packaged").packaged(settings.encoder).home()
    for name, given in config.options.items():
        if given and name not in trained:
            remedy = "leave out --keep-fusion" if name == FUSION else "name it in --sources"
            raise OptionError(
                f"{name} is not trained, and {', '.join(given)} would change nothing: {remedy}, or "
                "leave out the setting"
            )
    if config.refit and not config.fusion:
        raise OptionError(
            "--refit comes after the fusion's tuning, and --keep-fusion leaves that out; the "
            "sources learn from all events then anyway: leave out --refit"
        )
    if config.fusion:
        settings = config_of(FUSION, config.preset, config.seed, config.options.get(FUSION))
        exposures = importlib.import_module("models.fusion.exposures")
        exposures.check_exposures(settings, dataset.info.times)


def _check_others(repository: Path, sources: Sequence[str], held: Holdout) -> None:
    """Refuse to tune on events that sources which are there already have learned from."""
    begin = held.wanted["time"].min()
    if not isinstance(begin, datetime) or held.wanted["time"].null_count():
        return  # nothing says what they know
    # The text source learns nothing from events.
    for name in sorted({*SOURCES} - {"text", *sources}):
        if not layout.versions(repository, name):
            continue
        known = manifests.read(layout.find(repository, name))
        ended = known.data_end_time.ToDatetime(tzinfo=UTC)
        if known.HasField("data_end_time") and ended >= begin:
            raise OptionError(
                f"{repository / name / str(known.version)}: has learned from events that the "
                "fusion is to be tuned on, and would weigh too much; train it too (--sources), "
                "or leave the fusion as it is (--keep-fusion)"
            )


def _train_each(  # noqa: PLR0917 -- a step of train_all
    sources: Sequence[str],
    dataset: Dataset,
    events: pl.DataFrame,
    repository: Path,
    config: TrainConfig,
    stages: Stages,
    published: Callable[[Trained], None],
) -> tuple[list[Trained], dict[str, str]]:
    """Train the sources that these events teach anything; also say why others learn nothing."""
    done, skipped = [], {}
    places: dict[str, Any] = {"repository": repository, "config": config}
    for source in sources:
        try:
            done.append(train_source(source, dataset, events, **places, progress=stages(source)))
        except DatasetError as error:
            skipped[source] = str(error)
            continue
        published(done[-1])
    return done, skipped


def _refit(  # noqa: PLR0917 -- a step of train_all
    sources: Sequence[str],
    dataset: Dataset,
    repository: Path,
    config: TrainConfig,
    stages: Stages,
    published: Callable[[Trained], None],
) -> list[Trained]:
    """Train sources once more, on all events, and have the fusion belong to them."""
    again = [s for s in sources if s != "text"]  # it learns nothing from events
    done, _ = _train_each(again, dataset, dataset.events, repository, config, stages, published)
    began = time.perf_counter()
    path = importlib.import_module("models.fusion.train").refresh(repository)
    done.append(_trained(FUSION, path, began))
    published(done[-1])
    return done


def train_source(
    source: str,
    dataset: Dataset,
    events: pl.DataFrame,
    *,
    repository: Path,
    config: TrainConfig,
    progress: Progress = silent,
) -> Trained:
    """Train one source on some of the dataset's events and publish it.

    It meets items at the prices that those events tell of: a price that was only paid later
    would say which items are going to be sold.
    """
    began = time.perf_counter()
    module = importlib.import_module(f"models.{source}.train")
    settings = config_of(source, config.preset, config.seed, config.options.get(source))
    items = as_of(dataset.items, events)
    with enough_memory(source, config.options.get(source)):
        path: Path = module.train(settings, items, events, repository, progress)
    return _trained(source, path, began)


def preset_of(module: Any, preset: str, seed: int) -> Any:
    """Return a trainer's configuration for a preset; its defaults where it has no such one."""
    presets = getattr(module, "PRESETS", {})
    return replace(presets.get(preset) or module.Config(), seed=seed)


def config_of(
    source: str, preset: str, seed: int, options: Mapping[str, object] | None = None
) -> Any:
    """Return a trainer's configuration: a preset with some fields set otherwise.

    Raises OptionError for a field there is not, or a value of another type.
    """
    config = preset_of(importlib.import_module(f"models.{source}.train"), preset, seed)
    return with_options(config, source, options or {})


def has_length(source: str) -> bool:
    """Say whether a training finds its own length, which another may repeat."""
    return hasattr(importlib.import_module(f"models.{source}.train"), "fixed")


def fixed_config(source: str, config: Any, metrics: Mapping[str, float]) -> Any:
    """Return the configuration that repeats a training without choosing anything again.

    `metrics` are those of its manifest. A trainer that stops early says how by a
    function `fixed`; others train for a length that is set anyway.
    """
    fixed = getattr(importlib.import_module(f"models.{source}.train"), "fixed", None)
    return fixed(config, metrics) if fixed is not None else config


def unsuited(source: str, dataset: Dataset) -> str:
    """Say why a dataset cannot train a source; "" if it can."""
    if source == "text" and not has_text(dataset.items):
        return "the items have neither titles nor text"
    if source != "text" and not dataset.events.height:
        return "the dataset has no events to learn from"
    return ""


def reasons(skipped: Mapping[str, str]) -> str:
    """Return why each was left out, in one line."""
    return "; ".join(f"{name}: {why}" for name, why in skipped.items())


def has_text(items: pl.DataFrame) -> bool:
    """Say whether any item has words: a title other than its id, or a text."""
    named = (pl.col("title") != pl.col("item_id")) & (pl.col("title") != "")
    return bool(items.select((named | (pl.col("text") != "")).any()).item())


def _fusion(
    dataset: Dataset,
    held: Holdout,
    *,
    repository: Path,
    config: TrainConfig,
    stages: Stages,
) -> Trained:
    began = time.perf_counter()
    module = importlib.import_module("models.fusion.train")
    settings = config_of(FUSION, config.preset, config.seed, config.options.get(FUSION))
    window = module.Window(held.known, held.wanted)
    with layout.scratch(repository, "earlier") as place:
        if (then := module.before(settings, window)) is not None:
            engines = _earlier(dataset, then.known, repository, place, config, stages)
            if engines:
                window = replace(window, earlier=module.Earlier(then, engines))
        with enough_memory(FUSION, config.options.get(FUSION)):
            path: Path = module.train(settings, dataset, repository, stages(FUSION), window)
    return _trained(FUSION, path, began)


def _earlier(  # noqa: PLR0917 -- a step of _fusion
    dataset: Dataset,
    events: pl.DataFrame,
    repository: Path,
    place: Path,
    config: TrainConfig,
    stages: Stages,
) -> dict[str, Engine]:
    """Train the repository's sources on earlier events at `place`, and return all of them.

    Nothing where those events are too few for one of them.
    """
    now: dict[str, Engine] = importlib.import_module("models.fusion.train").load_sources(repository)
    found = {}
    for name, engine in now.items():
        found[name] = engine
        if name != "text":  # it learns nothing from events
            report = stages(f"{name} as it was earlier")
            try:
                trained = train_source(
                    name, dataset, events, repository=place, config=config, progress=report
                )
            except DatasetError:
                return {}
            found[name] = load(trained.path)
    return found


def _trained(source: str, path: Path, began: float) -> Trained:
    size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    metrics = dict(manifests.read(path).metrics)
    return Trained(source, path, time.perf_counter() - began, size / 2**20, metrics)
