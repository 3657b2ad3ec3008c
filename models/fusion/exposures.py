"""The gateway's exposure log: what was shown at which place, and what followed.

A page is a line with `item_ids` from `first_position` on; an event that named its ranking is
a line with `event` (gateway/exposure.py writes both). Joined by ranking and item they say
of everything shown whether it was followed. A log that was moved aside is one more file,
in any order.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from artifacts.formulas import Floats
from artifacts.keys import Keys, item_key
from models.data.dataset import Times
from models.data.errors import OptionError, SourceError
from models.fusion.config import Config
from models.fusion.propensity import Examination, examination

_UNWANTED = ("dislike", "search")
_SCHEMA = {
    "ranking_id": pl.String, "user_id": pl.String, "item_key": pl.Int64, "place": pl.Int32,
}  # fmt: skip
_FOLLOWED = {"ranking_id": pl.String, "item_key": pl.Int64, "time": pl.Float64}


class Weigh(Protocol):
    """Says how much each candidate counts as a target of a question."""

    def __call__(self, user: str, keys: Keys, since: float, until: float = float("inf")) -> Floats:
        """Return it of candidates [P] of a user; the answer lies between these times."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Exposures:
    """What one surface showed, and when it was followed."""

    # ranking_id, user_id, item_key, place (from 1), time (s since epoch; null: not followed).
    shown: pl.DataFrame

    @property
    def followed(self) -> pl.DataFrame:
        """What was followed, in the order of time."""
        return self.shown.filter(pl.col("time").is_not_null()).sort("time")


def read_exposures(paths: Sequence[Path], surface: str = "HOME") -> Exposures:
    """Read the pages of a surface and what followed.

    Raises SourceError naming file and line, or what is missing in all of them.
    """
    pages: list[tuple[str, str, int, int]] = []
    events: list[tuple[str, int, float]] = []
    key_of = cache(item_key)
    for path in paths:
        for number, line in _lines(path):
            try:
                if "event" in line:
                    if line["event"] not in _UNWANTED:
                        told = (line["ranking_id"], key_of(line["item_id"]), float(line["time"]))
                        events.append(told)
                elif line["surface"] == surface:
                    first = int(line["first_position"])
                    pages += [
                        (line["ranking_id"], line["user_id"], key_of(item), first + at)
                        for at, item in enumerate(line["item_ids"])
                    ]
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise SourceError(
                    f"{path}, line {number}: not a line of an exposure log ({error!r}); name "
                    "files that the gateway wrote"
                ) from None
    where = ", ".join(map(str, paths))
    if not pages:
        raise SourceError(f"{where}: no page of {surface} was shown; there is nothing to learn")
    if not events:
        raise SourceError(
            f"{where}: no event names a ranking; have the storefront send ranking_id with events"
        )
    return _joined(pages, events)


def weigher(exposures: Exposures, found: Examination, most: float) -> Weigh:
    """Return what a target counts: 1 / P(its place was looked at) where it followed from one.

    At most `most`. What a shopper came to in another way counts once.
    """
    theirs: dict[str, list[tuple[float, int, float]]] = {}
    rows = exposures.followed.select("user_id", "time", "item_key", "place").iter_rows()
    for user, time, key, place in rows:
        inverse = min(1 / found.at(place), most)
        theirs.setdefault(user, []).append((time, key, inverse))

    def weigh(user: str, keys: Keys, since: float, until: float = float("inf")) -> Floats:
        weights = np.ones(len(keys), np.float32)
        # The first that followed counts: later ones are written over by earlier ones.
        for time, key, inverse in reversed(theirs.get(user, [])):
            if since <= time < until:
                weights[keys == key] = inverse
        return weights

    return weigh


def learn_weights(paths: Sequence[Path], most: float) -> tuple[Weigh, Examination]:
    """Read logs, and return how targets are weighed and what was found; raises SourceError."""
    exposures = read_exposures(paths)
    found = examination(exposures.shown, ", ".join(map(str, paths)))
    return weigher(exposures, found, most), found


def check_exposures(config: Config, times: Times) -> None:
    """Tell of logs that cannot be used before anything is trained; `times` is the dataset's.

    Raises OptionError where no ranker would learn from them, SourceError as `learn_weights`.
    """
    if not config.exposures:
        return
    if not config.ranker or times != "time":
        why = "the dataset's events have no times" if config.ranker else "ranker is false"
        raise OptionError(
            f"exposures say what a ranker's targets count, and none is learned: {why}; leave them "
            "out"
        )
    learn_weights([Path(path) for path in config.exposures], config.exposure_most)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the lines of a file with their numbers; one of a forgotten shopper is blank."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, text in enumerate(file, 1):
                if text.isspace():
                    continue
                try:
                    line = json.loads(text)
                except ValueError as error:
                    # What JSON names is the line within this one, always the first.
                    raise SourceError(
                        f"{path}, line {number}: not JSON ({error}); leave such a line out"
                    ) from None
                if not isinstance(line, dict):
                    raise SourceError(f"{path}, line {number}: not a JSON object")
                yield number, line
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read ({error.strerror}); name the gateway's exposure log"
        ) from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not lines of JSON ({error})") from None


def _joined(
    pages: list[tuple[str, str, int, int]], events: list[tuple[str, int, float]]
) -> Exposures:
    shown = pl.DataFrame(pages, _SCHEMA, orient="row").unique(
        ["ranking_id", "item_key"], keep="first", maintain_order=True
    )
    followed = pl.DataFrame(events, _FOLLOWED, orient="row")
    first = followed.group_by("ranking_id", "item_key").agg(pl.col("time").min())
    return Exposures(shown.join(first, on=["ranking_id", "item_key"], how="left"))
