"""Are two domains really two? Items of both that the same users took, and data without them.

    python -m benchmarks.twins var/data/electronic-phone var/data/electronic-phone-untwinned

A product that is listed in two domains is two items with the same users. Whoever knows
one finds the other, and training on both domains then wins by the listing alone. Twins
have at least two users in common, and at least half of all who took either (Jaccard).
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from benchmarks.command import ended
from cli.failures import UserError
from models.data.dataset import load_dataset, write_dataset
from models.data.report import keep

LEAST_COMMON, LEAST_SHARE = 2, 0.5


def twins(items: pl.DataFrame, events: pl.DataFrame) -> pl.Series:
    """Return the keys of all items with a twin in another domain."""
    keys = items["item_key"].sort()
    domain = items.sort("item_key")["domain"].to_numpy()
    users = events["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
    column = np.searchsorted(keys.to_numpy(), events["item_key"].to_numpy())
    shape = (int(users.max(initial=0)) + 1, len(keys))
    x = sparse.csr_matrix((np.ones(len(users), np.float32), (users, column)), shape)
    x.sum_duplicates()
    x.data[:] = 1
    common = (x.T @ x).tocoo()
    size = np.asarray(x.sum(axis=0)).ravel()
    share = common.data / (size[common.row] + size[common.col] - common.data)
    near = (common.data >= LEAST_COMMON) & (share >= LEAST_SHARE)
    near &= domain[common.row] != domain[common.col]
    return keys.gather(np.unique(common.row[near]))


def main() -> int:
    """Count the twins, and write the dataset without them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path)
    parser.add_argument("dest", type=Path)
    options = parser.parse_args()
    return ended(lambda: _work(options.source, options.dest))


def _work(source: Path, dest: Path) -> None:
    if source.resolve() == dest.resolve():
        raise UserError(f"{dest}: is the dataset itself; name another place for what is left")
    data = load_dataset(source)
    others = ~pl.col("item_key").is_in(twins(data.items, data.events).implode())
    why = "the same users took an item of another domain"
    items, no_items = keep(data.items, others, "twins", why, unit="items")
    events, no_events = keep(data.events, others, "events of twins", why)
    queries = None if data.queries is None else data.queries.filter(others)
    info = replace(data.info, report=data.info.report.add(no_items, no_events))
    write_dataset(dest, items=items, events=events, info=info, queries=queries)
    for name, before, after in (("items", data.items, items), ("events", data.events, events)):
        print(f"{name}: {before.height - after.height:,} of {before.height:,} left out")


if __name__ == "__main__":
    sys.exit(main())
