"""Are searches answered in a language that is not the catalogue's?

Sixty of the rated queries of an English catalogue, translated (translations.csv), have the
ratings of the English ones. Each packaged encoder reads the catalogue; what people rated is
looked for in every language, by meaning alone and as served (condensed and full NDCG@10). The
JSON has each also for the half of the queries that no setting was chosen on.

python -m benchmarks.languages var/data/electronics-search [--weights .6 .8 1] [--json FILE]
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from artifacts import manifest as manifests
from artifacts.engine import Engine
from artifacts.engines.text import DENSE_WEIGHT, TextEngine
from benchmarks import machine
from benchmarks.command import ended, output, write
from cli.failures import UserError
from cli.output import console, table
from models.data.dataset import Dataset, load_dataset
from models.progress import silent
from models.text.evaluate import held_out, meaning_alone, search_values
from models.text.packaged import ENCODERS
from models.text.train import Config, train

TRANSLATIONS = Path(__file__).with_name("translations.csv")
_SPOKEN = "en"
_K = 10
# By measure: of all queries, and of the half on which nothing was chosen.
Values = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """How well the searches of a language are answered by one encoder in one way."""

    encoder: str
    way: str
    language: str
    values: Values


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--encoders", nargs="+", choices=[*ENCODERS], default=[*ENCODERS])
    parser.add_argument(
        "--weights", nargs="+", type=_share, default=[DENSE_WEIGHT],
        help="of meaning, 0 to 1: each is tried",
    )  # fmt: skip
    parser.add_argument("--json", type=output)
    options = parser.parse_args()
    return ended(lambda: _work(options))


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share from 0 to 1")
    return value


def _work(options: argparse.Namespace) -> None:
    dataset = load_dataset(options.dataset)
    spoken = translations()
    rated = _rated(dataset, spoken[_SPOKEN])
    rows = []
    for encoder in options.encoders:
        config = Config(encoder=encoder)
        print(f"reading {dataset.items.height:,} products: {encoder}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            artifact = train(config, dataset.items, dataset.events, Path(scratch), silent)
            for way, engine in _engines(artifact, options.weights).items():
                for language, queries in spoken.items():
                    rows.append(Row(encoder, way, language, _values(engine, rated, queries)))
    _show(rows, list(spoken))
    write(options.json, {"machine": machine.describe(), "rows": [asdict(row) for row in rows]})


def translations(path: Path = TRANSLATIONS) -> dict[str, dict[str, str]]:
    """Return by language what each English query is called in it."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {language: {row[_SPOKEN]: row[language] for row in rows} for language in rows[0]}


def _engines(artifact: Path, weights: Sequence[float]) -> dict[str, Engine]:
    found: dict[str, Engine] = {"meaning alone": meaning_alone(artifact)}
    for weight in weights:
        manifest, keys = manifests.verify(artifact)
        manifest.engine_parameters["dense_weight"] = weight
        found[f"both, {weight:g}"] = TextEngine(artifact, manifest, keys)
    return found


def _rated(dataset: Dataset, queries: Container[str]) -> pl.DataFrame:
    found = dataset.queries
    if found is not None:
        found = found.filter([query in queries for query in found["query"]])
    if found is None or not found.height:
        raise UserError(
            f"none of {TRANSLATIONS.name} is among the dataset's rated queries; "
            "import electronics-search"
        )
    return found


def _values(engine: Engine, rated: pl.DataFrame, queries: Mapping[str, str]) -> Values:
    # In the order of the English queries, one after the other: two may share a translation.
    values: dict[str, list[float]] = {}
    kept = []
    for (query,), rows in rated.sort("query").group_by("query", maintain_order=True):
        put = rows.with_columns(pl.lit(queries[str(query)]).alias("query"))
        for name, found in search_values(engine, put, (_K,)).items():
            values.setdefault(name, []).extend(found.tolist())
        if rows["rating"].max() > 0:  # type: ignore[operator]
            kept.append(held_out(str(query)))
    half = np.array(kept)
    return {
        name: (float(np.mean(found)), float(np.mean(np.array(found)[half])))
        for name, found in values.items()
    }


def _show(rows: Sequence[Row], languages: Sequence[str]) -> None:
    for measure in rows[0].values:
        shown = table("encoder", "way", *(f">{name}" for name in languages), title=measure)
        for encoder, way in dict.fromkeys((row.encoder, row.way) for row in rows):
            here = [row.values for row in rows if (row.encoder, row.way) == (encoder, way)]
            shown.add_row(encoder, way, *(f"{values[measure][0]:.3f}" for values in here))
        console().print(shown)


if __name__ == "__main__":
    sys.exit(main())
