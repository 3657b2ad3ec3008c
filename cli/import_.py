"""`plait import`: turn a shop's data, or a public set, into a dataset, and say what was dropped."""

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli.failures import UserError
from cli.options import example
from cli.output import console, counted, print_json, table
from cli.writable import check_directory
from models.data.dataset import Dataset
from models.data.importers import FORMATS, Options, import_dataset

_FORMATS = "\b\nFormats and their SOURCE:\n" + "\n".join(
    f"  {name:17} {entry.summary}" for name, entry in FORMATS.items()
)


@click.command(
    name="import",
    epilog=_FORMATS
    + "\n\n"
    + example(
        "plait import complete-journey package data/journey",
        "plait import csv shop/ data/shop --map user_id=customer --map type.buy=purchase",
        "plait import sasrec Beauty.txt data/beauty --json",
    ),
)
@click.argument("format_name", metavar="FORMAT", type=click.Choice(list(FORMATS)))
@click.argument("source", metavar="SOURCE")
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@click.option(
    "--map", "pairs", multiple=True, metavar="FIELD=COLUMN",
    help="Which column a field is in: user_id=customer, items.title=name; type.buy=purchase "
    "translates an event type. (csv, parquet)",
)  # fmt: skip
@click.option(
    "--mapping", "mapping_file", metavar="FILE.toml",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The same as TOML: tables [events], [items], [queries] of field = \"column\", and [type].",
)  # fmt: skip
@click.option("--skip-bad-rows", is_flag=True, help="Count rows that cannot be read, and go on.")
@click.option(
    "--min-item-events", type=click.IntRange(min=0), metavar="N",
    help="Leave out items with fewer events.",
)  # fmt: skip
@click.option("--name", help="Name of the dataset; the source's if not given.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for machines.")
def import_command(format_name: str, source: str, destination: Path, **options: Any) -> None:
    """Read SOURCE in a FORMAT, clean it step by step and write the dataset DEST.

    DEST appears all at once, or not at all. An older dataset there is replaced.
    """
    mapping = _mapping_file(options["mapping_file"]) | _mapping_options(options["pairs"])
    wanted = Options(
        min_item_events=options["min_item_events"],
        mapping=mapping,
        skip_bad_rows=options["skip_bad_rows"],
        name=options["name"],
    )
    check_directory(destination.parent)
    dataset = import_dataset(format_name, Path(source), destination, wanted)
    if options["as_json"]:
        print_json(_summary(dataset))
    else:
        show_import(dataset)


def _mapping_options(pairs: tuple[str, ...]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not (field and equals and column):
            raise click.BadParameter(
                f"{pair!r} is not FIELD=COLUMN, for example user_id=customer", param_hint="--map"
            )
        mapping[field.strip()] = column.strip()
    return mapping


def _mapping_file(path: Path | None) -> dict[str, str]:
    """Flatten {events: {user_id: column}} to {"events.user_id": column}."""
    if path is None:
        return {}
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a TOML file ({error})") from None
    mapping: dict[str, str] = {}
    for key, value in read.items():
        entries = (
            {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        )
        for field, column in entries.items():
            if not isinstance(column, str):
                raise UserError(f"{path}: {field} must be the name of a column, a string")
            mapping[field] = column
    return mapping


def _summary(dataset: Dataset) -> dict[str, Any]:
    info = dataset.info
    return {
        "path": str(dataset.path),
        "name": info.name,
        "source": info.source,
        "times": info.times,
        "users": dataset.events["user_id"].n_unique(),
        "items": dataset.items.height,
        "domains": dataset.items["domain"].n_unique(),
        "events": dataset.events.height,
        "queries": 0 if dataset.queries is None else dataset.queries["query"].n_unique(),
        "judgements": 0 if dataset.queries is None else dataset.queries.height,
        "notes": list(info.notes),
        "report": [asdict(step) for step in info.report.steps],
    }


def show_import(dataset: Dataset) -> None:
    """Print what was imported: the source, every cleaning step, the notes, the counts."""
    out = console()
    out.print(dataset.info.source)
    made = table("Step", ">Kept", ">Dropped", "Of", "Why")
    for step in dataset.info.report.steps:
        dropped = f"{step.dropped:,}" if step.dropped else "-"
        made.add_row(step.name, f"{step.kept:,}", dropped, step.unit, step.reason)
    out.print(made)
    for note in dataset.info.notes:
        out.print(f"  {note}", style="dim")
    facts = _summary(dataset)
    kinds = ("user", "item", "domain", "event")
    counts = [counted(facts[f"{kind}s"], kind) for kind in kinds if facts[f"{kind}s"]]
    # Sets without events are there for their queries: that there are none is news.
    if dataset.queries is not None or not facts["events"]:
        queries = counted(facts["queries"], "query")
        counts.append(f"{queries} with {counted(facts['judgements'], 'judgement')}")
    out.print(f"\n{dataset.path}: {', '.join(counts)}", soft_wrap=True)
