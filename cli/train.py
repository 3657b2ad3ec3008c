"""`plait train`: from a dataset to a repository of artifacts."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from artifacts.engines.query_weight import CATALOGUE_READ
from cli.bars import bars
from cli.evaluation.plan import read_settings
from cli.failures import UserError
from cli.options import SEEDS, example
from cli.output import console, print_json, table
from cli.writable import check_directory
from models.cf.config import METHODS
from models.data.dataset import Dataset, load_dataset
from models.export import ExportMismatch
from models.text.train import LEFT_OUT
from models.train import FUSION, PRESETS, SOURCES, Stages, TrainConfig, Trained, train_all

# Of a catalogue of which less is read, another encoder should be tried.
_READ = 0.5
# The metrics worth a column, in this order; the rest is in the manifest.
_SHOWN = ("recall@10", "ndcg@10", "ndcg_next@10")


@click.command(
    name="train",
    epilog=example(
        "plait train var/data/complete-journey var/models",
        "plait train data/shop models --preset full --refit",
        "plait train data/shop models --sources cf --keep-fusion --set cf.top_weights=64",
        "plait train data/shop models --sources cf --method als",
        "plait train data/shop models --exposures var/exposures.jsonl",
    ),
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("repository", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--sources", default=",".join(SOURCES), show_default=True, metavar="LIST",
    help="Models to train, separated by commas.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(METHODS), metavar="NAME",
    help=f"How cf learns: {', '.join(METHODS)}. The same as --set cf.method=NAME.",
)  # fmt: skip
@click.option(
    "--keep-fusion", is_flag=True,
    help="Leave the blend as it is; the sources then learn from all events.",
)  # fmt: skip
@click.option(
    "--preset", type=click.Choice(PRESETS), default="demo", show_default=True,
    help="Seconds, minutes, or as good as it gets.",
)  # fmt: skip
@click.option(
    "--refit", is_flag=True, help="Fit the sources once more on all events after tuning the blend."
)
@click.option(
    "--set", "sets", multiple=True, metavar="MODEL.FIELD=VALUE",
    help="Set a field of a model's training configuration, or of `fusion`; repeatable.",
)  # fmt: skip
@click.option(
    "--exposures", multiple=True, type=click.Path(path_type=Path, dir_okay=False),
    help="An exposure log of the gateway: the ranker learns from what was looked at; repeatable.",
)  # fmt: skip
@click.option("--seed", type=SEEDS, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for machines.")
def train_command(dataset: Path, repository: Path, **options: Any) -> None:
    """Train models on DATASET and publish new versions in REPOSITORY.

    The last tenth of the events is kept from the sources: metrics and the blend
    come from it. Running services keep what they serve until told to load.
    """
    method = options["method"]
    sets = (*options["sets"], *([f"cf.method={method}"] if method else []))
    if logs := options["exposures"]:
        sets = (*sets, f"{FUSION}.exposures={json.dumps([str(path) for path in logs])}")
    config = TrainConfig(
        sources=_sources(options["sources"]),
        preset=options["preset"],
        fusion=not options["keep_fusion"],
        refit=options["refit"],
        seed=options["seed"],
        options=read_settings(sets, (*SOURCES, FUSION)),
    )
    check_directory(repository)
    done, skipped = train_watched(load_dataset(dataset), repository, config)
    if options["as_json"]:
        print_json({"trained": [_json(t) for t in done], "skipped": skipped})
        return
    show_trained(done, skipped)


def train_watched(
    data: Dataset,
    repository: Path,
    config: TrainConfig,
    announced: Callable[[Stages], Stages] = lambda stages: stages,
) -> tuple[list[Trained], dict[str, str]]:
    """Train with bars; where it ends early, however it does, say what it has published.

    `announced` may say more of each stage. Raises UserError where an export is wrong, and
    what `train_all` raises.
    """
    there: list[Trained] = []
    try:
        with bars() as stages:
            return train_all(data, repository, config, announced(stages), there.append)
    except ExportMismatch as error:
        _tell_published(there)
        raise UserError(f"{error} Nothing was published for it.") from None
    except BaseException:
        _tell_published(there)
        raise


def _tell_published(there: Sequence[Trained]) -> None:
    if there:
        names = ", ".join(f"{t.source} {t.path.name}" for t in there)
        click.echo(f"Published before it ended, whole and to be loaded: {names}.", err=True)


def show_trained(done: list[Trained], skipped: dict[str, str]) -> None:
    """Print what was published."""
    made = table("Model", ">Version", *(f">{name}" for name in _SHOWN), ">Seconds", ">MB")
    for trained in done:
        shown = (f"{trained.metrics[m]:.3f}" if m in trained.metrics else "-" for m in _SHOWN)
        made.add_row(
            trained.source, trained.path.name, *shown,
            f"{trained.seconds:.1f}", f"{trained.megabytes:.1f}",
        )  # fmt: skip
    out = console()
    out.print(made)
    out.print(
        "  Measured on events the model had not seen, all items ranked: recall@10 and ndcg@10 on "
        "items new to the user, ndcg_next@10 on whatever came next, repeats included.",
        style="dim",
    )  # fmt: skip
    for trained in done:
        if (share := trained.metrics.get(LEFT_OUT)) is not None:
            out.print(
                f"  {trained.source} reads queries only: for shoppers' histories it would read "
                f"{share:.0%} of its index (--set {trained.source}.most_lists=1 to let it).",
            )
        if (share := trained.metrics.get(CATALOGUE_READ, 1.0)) < _READ:
            out.print(
                f"  {trained.source}'s encoder was taught English and reads {share:.0%} of the "
                "catalogue: --set text.encoder=multilingual --set content.encoder=multilingual "
                "for one that was taught a hundred languages.",
            )
    for source, why in skipped.items():
        out.print(f"  {source} left out: {why}")


def _sources(text: str) -> tuple[str, ...]:
    named = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = sorted(set(named) - set(SOURCES))
    if unknown or not named:
        raise click.BadParameter(
            f"no such model: {', '.join(unknown) or '(none named)'}; "
            f"there are {', '.join(SOURCES)}",
            param_hint="--sources",
        )
    return named


def _json(trained: Trained) -> dict[str, Any]:
    return {
        "source": trained.source,
        "version": int(trained.path.name),
        "path": str(trained.path),
        "seconds": round(trained.seconds, 3),
        "megabytes": round(trained.megabytes, 3),
        "metrics": dict(trained.metrics),
    }
