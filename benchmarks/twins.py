"""Are two domains really two? Items of both that the same users took, and data without them.

    python -m benchmarks.twins var/data/electronic-phone var/data/electronic-phone-untwinned

A product that is listed in two domains is two items with the same users. Whoever knows
one finds the other, and training on both domains then wins by the listing alone. Twins
have at least two users in common, and at least half of all who took either (Jaccard).
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

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


def main() -> None:
    """Count the twins, and write the dataset without them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("dest", type=Path)
    options = parser.parse_args()
    source, dest = options.source, options.dest
    items, events = (pl.read_parquet(source / f"{n}.parquet") for n in ("items", "events"))
    found = twins(items, events)
    told = pl.col("item_key").is_in(found.implode())
    shutil.copytree(source, dest, dirs_exist_ok=True)
    for name, frame in (("items", items), ("events", events)):
        kept = frame.filter(~told)
        kept.write_parquet(dest / f"{name}.parquet")
        print(f"{name}: {frame.height - kept.height:,} of {frame.height:,} left out")


if __name__ == "__main__":
    main()
