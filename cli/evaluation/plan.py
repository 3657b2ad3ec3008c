"""What to evaluate, and how: everything that the command's options say."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.data.errors import OptionError
from models.evaluate.bootstrap import Resampling
from models.evaluate.judge import Measure
from models.evaluate.ranking import Asking
from models.train import FUSION, SOURCES

BASELINES = ("popular-7d", "popular")
FUSIONS = ("rrf", "convex", "fused")
# The fused ranking at several weights of the cross-domain term: only when asked for.
CROSSING = "crossing"
# In the order of the table.
ROWS = (*BASELINES, *sorted(SOURCES), *FUSIONS)
# What can be changed one thing at a time.
ABLATIONS = ("live", "history", "utility")
# The last days whose best sellers are the baseline to beat.
RECENT_DAYS = 7.0
# What is added to the name of a row that knows nothing but the target domain.
ONE_DOMAIN = ", one domain"


@dataclass(frozen=True, slots=True)
class Model:
    """A source to train, under a name of its own, with settings that differ from the preset's."""

    label: str
    source: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evaluate, and how."""

    protocol: str
    models: tuple[Model, ...]  # the first of each source is fused
    rows: tuple[str, ...] = (*BASELINES, *FUSIONS)  # what else there is in the table
    ks: tuple[int, ...] = (5, 10, 20, 50)
    judged: str = "test"
    users: int | None = None
    exclude_seen: bool = True
    preset: str = "full"
    # Train once more on train and validation before the test, with lengths and weights
    # as they were chosen without.
    with_validation: bool = False
    # Target domains of the cross-domain protocol; none: all, where they are few.
    domains: tuple[str, ...] = ()
    # Candidates of each source that are fused, as in serving.
    depth: int = 200
    asking: Asking = field(default_factory=Asking)
    fusion_options: Mapping[str, str] = field(default_factory=dict)
    draws: int = 1000
    seed: int = 0
    # Judge the fusion with every subset of its sources too.
    subsets: bool = False
    # Judge by the items that training never saw too, among all items and among themselves.
    new_items: bool = False
    # Judge SESSION and CART too, by each shopper's first visit after the split.
    visits: bool = False
    # Kinds of ablations (cli/evaluation/ablation) of the fusion.
    ablate: tuple[str, ...] = ()
    work: Path = Path("var/evaluate")
    fresh: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """What the models are of, in their order."""
        return tuple(model.source for model in self.models)

    @property
    def fuses(self) -> bool:
        """Whether weights are needed."""
        return any(row in self.rows for row in ("convex", "fused", CROSSING))

    def measure(self, kind: str = "ndcg") -> Measure:
        """Return what is measured; the main metric is at 10 places, or the fewest there are."""
        k = 10 if 10 in self.ks else min(self.ks)
        return Measure(self.ks, f"{kind}@{k}", Resampling(draws=self.draws, seed=self.seed))

    def settings(self) -> dict[str, Any]:
        """Return the plan as plain values, for the report."""
        return {**asdict(self), "work": str(self.work)}


def read_models(text: str, settings: tuple[str, ...]) -> tuple[tuple[Model, ...], dict[str, Any]]:
    """Read "--models" and "--set": the models, and the plan's other fields they decide.

    `text` is a list such as "popular,cf,als=cf,fused" of names and LABEL=SOURCE;
    each of `settings` is "LABEL.FIELD=VALUE". Raises OptionError.
    """
    models: dict[str, str] = {}
    rows = []
    named = (*BASELINES, *FUSIONS, CROSSING)
    for part in filter(None, (part.strip() for part in text.split(","))):
        label, equals, source = part.partition("=")
        source = source if equals else label
        if label in models:
            raise OptionError(f"{label!r} is named twice; give each another name, as in wide=cf")
        if source in SOURCES and label not in named:
            models[label] = source
        elif not equals and label in named:
            rows.append(label)
        else:
            raise OptionError(
                f"{part!r} is not one of {', '.join((*ROWS, CROSSING))}, nor a new NAME=SOURCE "
                f"with a source of {', '.join(SOURCES)}"
            )
    if not models and not rows:
        raise OptionError(f"no row is named; there are: {', '.join(ROWS)}")
    options = read_settings(settings, (*models, FUSION))
    made = tuple(Model(label, source, options[label]) for label, source in models.items())
    ordered = tuple(row for row in (*ROWS, CROSSING) if row in rows)
    return made, {"rows": ordered, "fusion_options": options[FUSION]}


def read_settings(settings: tuple[str, ...], labels: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Read LABEL.FIELD=VALUE texts; every label has an entry. Raises OptionError."""
    found: dict[str, dict[str, str]] = {label: {} for label in labels}
    for text in settings:
        name, equals, value = text.partition("=")
        label, dot, setting = name.rpartition(".")
        if not (equals and dot and label in found):
            raise OptionError(
                f"{text!r} is not NAME.FIELD=VALUE with a name of {', '.join(labels)}"
            )
        found[label][setting] = value
    return found
