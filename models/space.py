"""What settings may be searched: ranges and choices, declared for each source.

The one idea: a space is data beside the configuration it is about
(`models/<source>/space.py`, `space(config)`), and no trainer imports it. So a range
may change, and nothing that was trained is trained again.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Settings of any source that say nothing where events have no times.
OF_TIMES = frozenset({"half_life_days"})


@dataclass(frozen=True, slots=True)
class Between:
    """A number from `low` to `high`, both included; whole where the field's are."""

    low: float
    high: float
    log: bool = False  # equal ratios are equally likely, instead of equal steps


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some values, each as text that `--set` reads."""

    values: tuple[str, ...]


Space = Between | OneOf


def space_of(source: str, config: Any) -> Mapping[str, Space]:
    """Return what is worth searching of a source's configuration: field -> space.

    What depends on a choice made in `config` (cf's method) follows it.
    """
    module = importlib.import_module(f"models.{source}.space")
    found: Mapping[str, Space] = module.space(config)
    return found
