"""Who may see which events: the roles that a protocol's split gives them.

The one idea: what is judged is cut off first. Judging the validation part is the
same protocol on the data without its test part, so settings chosen there have
never met the test.
"""

from dataclasses import dataclass, replace

import polars as pl

from models.data.dataset import Dataset
from models.data.errors import SplitError
from models.data.splits import make_split
from models.validation import hold_out

# Protocols of ranking for users; "search" judges queries.
PROTOCOLS = ("time-split", "leave-one-out", "given-split", "cross-domain", "search")
JUDGED = ("test", "validation")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Parts:
    """Events by role; `known` is `train` and `tune`, and all there is before asking."""

    train: pl.DataFrame  # what the models learn from
    tune: pl.DataFrame  # what the fusion is tuned on; may be empty
    wanted: pl.DataFrame  # what came after, to be foreseen
    note: str

    @property
    def known(self) -> pl.DataFrame:
        """All events before asking."""
        return pl.concat([self.train, self.tune])


def make_parts(
    dataset: Dataset, protocol: str, *, judged: str = "test", fused: bool = True, seed: int = 0
) -> Parts:
    """Split a dataset for `protocol`; `judged` is "test" or "validation".

    Where validation is judged, the fusion is tuned on what `hold_out` takes from the
    train part; if nothing is `fused`, the models keep that. Raises SplitError.
    """
    split = make_split(dataset, base_protocol(dataset, protocol), seed=seed)
    if judged == "test":
        if not split.test.height:
            judge = "judge the validation part, or " if split.valid.height else ""
            raise SplitError(
                f"{dataset.path}: there is no test part to judge; {judge}import the data anew with "
                "a test part"
            )
        return Parts(split.train, split.valid, split.test, split.note)
    if not split.valid.height:
        judge = "judge the test part, or " if split.test.height else ""
        raise SplitError(
            f"{dataset.path}: there is no validation part to judge; {judge}import the data anew "
            "with a validation part, or with more events of each user"
        )
    note = f"{split.note}; the test part is left out, validation is judged"
    if not fused:
        return Parts(split.train, split.train.clear(), split.valid, note)
    held = hold_out(split.train)
    return Parts(held.known, held.wanted, split.valid, note)


def base_protocol(dataset: Dataset, protocol: str) -> str:
    """Return how events are held out: cross-domain and search take what the data has."""
    if protocol not in {"cross-domain", "search"}:
        return protocol
    if dataset.events.height and not dataset.events["split"].null_count():
        return "given-split"
    return "time-split" if dataset.info.times == "time" else "leave-one-out"


def of_domain(parts: Parts, items: pl.DataFrame) -> Parts:
    """Return the parts without events on anything but `items`."""
    keys = items["item_key"].implode()

    def kept(events: pl.DataFrame) -> pl.DataFrame:
        return events.filter(pl.col("item_key").is_in(keys))

    return replace(parts, train=kept(parts.train), tune=kept(parts.tune), wanted=kept(parts.wanted))
