"""Several domains with shared users: a folder for each, lines of "user item 1".

Item ids count from 0 in every domain, so an item is "DOMAIN:ID"; user ids mean
the same person everywhere. That is what cross-domain recommendation is
measured on. test_original.txt is the complete held-out set (one item a user),
test.txt a subset of it: with both, the first is the test split and the column
`in_test_subset` marks the second.
"""

from pathlib import Path

import polars as pl

from models.data.dataset import DatasetInfo
from models.data.errors import SourceError
from models.data.importers.base import (
    Imported,
    Options,
    complete_events,
    complete_items,
    numbered,
    report_of,
    require_events,
    unique_events,
    with_keys,
)
from models.data.importers.lines import token_lines
from models.data.report import CleaningStep, keep

_PAIR = ["domain", "user_id", "item_id"]


def read(source: Path, options: Options) -> Imported:
    """Read a directory of domain folders, or one domain folder.

    Raises SourceError naming the file and line.
    """
    domains = _domains(source)
    parts = [_read_domain(folder, name) for name, folder in domains]
    lines = pl.concat(parts)
    steps = [CleaningStep("events read", lines.height, 0, "all domains and files together")]
    lines, positive = keep(lines, pl.col("rating") > 0, "no interaction", "the third value is 0")
    require_events(lines, source, [positive])
    lines, unique = unique_events(lines, [*_PAIR, "split"])
    ids = pl.concat_str("domain", "item_id", separator=":")
    lines = lines.with_columns(item_id=ids)
    items = complete_items(lines.select("item_id", "domain").unique(maintain_order=True))
    events = with_keys(lines.drop("domain", "rating"), items)
    events = complete_events(numbered(events))
    notes = ["the order within a user is the file's and means nothing", *_subset_notes(lines)]
    ratings = lines["rating"].unique().to_list()
    if len(ratings) > 1:
        values = f"from {min(ratings):g} to {max(ratings):g}"
        notes.append(f"the third values are {values}: all above 0 count as purchases")
    info = DatasetInfo(
        name=options.name or source.resolve().name,
        source=f"{', '.join(name for name, _ in domains)}: pairs of user and item by domain, "
        "split as given",
        times="none",
        report=report_of(*steps, positive, unique),
        notes=tuple(notes),
    )
    return Imported(items, events, info)


def _domains(source: Path) -> list[tuple[str, Path]]:
    """Return (name, folder) of every domain: folders with a train.txt."""
    if (source / "train.txt").is_file():
        return [(source.resolve().name, source)]
    if not source.is_dir():
        raise SourceError(f"{source}: not found; give a directory with a folder for each domain")
    found = sorted(d for d in source.iterdir() if (d / "train.txt").is_file())
    if not found:
        raise SourceError(
            f"{source}: neither train.txt nor folders that hold one; "
            "give a directory with a folder for each domain"
        )
    return [(d.name, d) for d in found]


def _read_domain(folder: Path, domain: str) -> pl.DataFrame:
    """Return user_id, item_id, rating, split, in_test_subset and domain of one folder."""
    original, test = folder / "test_original.txt", folder / "test.txt"
    held_out = original if original.is_file() else test
    parts = [_read_pairs(folder / "train.txt", "train")]
    if (folder / "valid.txt").is_file():
        parts.append(_read_pairs(folder / "valid.txt", "valid"))
    if held_out.is_file():
        parts.append(_read_pairs(held_out, "test"))
    lines = pl.concat(parts)
    if held_out == original and test.is_file():
        subset = _read_pairs(test, "test").select("user_id", "item_id", "split").unique()
        subset = subset.with_columns(marked=pl.lit(value=True))
        lines = lines.join(
            subset, on=["user_id", "item_id", "split"], how="left", maintain_order="left"
        )
        inside = pl.when(pl.col("split") == "test").then(pl.col("marked").fill_null(value=False))
        lines = lines.with_columns(in_test_subset=inside).drop("marked")
    else:
        lines = lines.with_columns(in_test_subset=pl.lit(None, pl.Boolean))
    return lines.with_columns(domain=pl.lit(domain))


def _read_pairs(file: Path, split: str) -> pl.DataFrame:
    table = token_lines(file)
    tokens = pl.col("tokens").list
    wrong = table.filter(~tokens.len().is_between(2, 3))
    if wrong.height:
        raise SourceError(
            f"{file} line {wrong['line'][0]}: {len(wrong['tokens'][0])} values, must be "
            "`user item` or `user item 1`"
        )
    pairs = table.select(
        "line",
        tokens.get(0).alias("user_id"),
        tokens.get(1).alias("item_id"),
        tokens.get(2, null_on_oob=True).fill_null("1").alias("given"),
        pl.lit(split).alias("split"),
    ).with_columns(rating=pl.col("given").cast(pl.Float64, strict=False))
    bad = pairs.filter(pl.col("rating").is_null())
    if bad.height:
        raise SourceError(f"{file} line {bad['line'][0]}: {bad['given'][0]!r} is not a number")
    return pairs.drop("line", "given")


def _subset_notes(lines: pl.DataFrame) -> list[str]:
    """Say for each domain how many of the held-out items test.txt marks as well."""
    marked = lines.filter(pl.col("in_test_subset").is_not_null())
    counts = marked.group_by("domain", maintain_order=True).agg(
        pl.len().alias("all"), pl.col("in_test_subset").sum().alias("inside")
    )
    return [
        f"{domain}: test is test_original.txt, {everything:,} items; test.txt marks {inside:,} "
        "of them (column in_test_subset)"
        for domain, everything, inside in counts.iter_rows()
    ]
