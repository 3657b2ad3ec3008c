"""From a catalogue to a text artifact: vectors, a search graph, a lexical index.

The one idea: nothing here learns. The encoder is frozen, BM25 counts, and the few
weights that combine them were chosen on judged searches once
(models/text/evaluate.py). "Training" is to encode and index a catalogue.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artifacts import layout
from artifacts.engine import Scores
from artifacts.engines.encoder import ENCODER, TOKENIZER, WIDTH
from artifacts.engines.lexical import LEXICAL, build_lexical
from artifacts.engines.text import DENSE_WEIGHT, TextEngine
from artifacts.item_text import item_text, split_description
from artifacts.keys import Keys
from artifacts.manifest import MODEL
from artifacts.session import open_session
from models.data.errors import DatasetError
from models.export import (
    Histories,
    Origin,
    check_parity,
    finish,
    new_manifest,
    sample_histories,
    wire_inputs,
    wire_outputs,
)
from models.progress import Progress, part
from models.text.encode import encode_texts, prepare_encoder
from models.text.evaluate import known_items, sample_queries
from models.text.model import DenseSearch

# A cosine in ONNX against the same in torch.
EXPORT_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Config:
    """How a catalogue is made searchable."""

    # Share of the dense half in a score. More finds what means the same in other words;
    # less keeps to the words themselves, which names and numbers need.
    dense_weight: float = DENSE_WEIGHT
    # Newest events that make up a shopper's profile where there is no query. More is
    # steadier, less follows the moment.
    max_history: int = 50
    # Of the sampled requests; nothing else is random.
    seed: int = 0
    # Where the exported encoder is kept between runs. It depends on nothing but its package.
    cache: str = ".cache"


def train(
    config: Config,
    items: pl.DataFrame,
    events: pl.DataFrame,
    repository: Path,
    progress: Progress,
) -> Path:
    """Encode and index all items, publish the artifact, return its directory.

    `events` may be empty; they serve for sample requests only. 20,000 items take
    about a minute on two cores. Raises DatasetError where there is no item, and
    what models/text/encode.py raises.
    """
    if not items.height:
        raise DatasetError("items: empty, there is nothing to search; import a catalogue first")
    items = items.sort("item_key")
    keys: Keys = items["item_key"].to_numpy().astype(np.int64)
    encoder = prepare_encoder(Path(config.cache))
    vectors = encode_texts(item_texts(items), part(progress, 0.0, 0.9), directory=encoder)
    with layout.publish(repository, "text") as (directory, version):
        for name in (ENCODER, TOKENIZER):
            shutil.copyfile(encoder / name, directory / name)
        progress(900, 1000, "indexing words")
        build_lexical(directory / LEXICAL, map(document, items.iter_rows(named=True)))
        worst = export_search(vectors, directory / MODEL)
        manifest = new_manifest(
            Origin("text", version, config, events),
            engine="text",
            inputs=wire_inputs(reads_query=True),
            outputs=wire_outputs(embedding=WIDTH),
            metrics={"export_difference": worst},
            tolerance=EXPORT_TOLERANCE,
            engine_parameters={
                "dense_weight": config.dense_weight,
                "max_history": config.max_history,
            },
        )
        engine = TextEngine(directory, manifest, keys)
        progress(950, 1000, "searching for known items")
        manifest.metrics.update(known_items(engine, items, seed=config.seed))
        queries = sample_queries(items, events, seed=config.seed)
        finish(directory, manifest, keys, engine, _histories(events, keys, queries, config))
    progress(1000, 1000, "text artifact written")
    return repository / "text" / str(version)


def item_texts(items: pl.DataFrame) -> list[str]:
    """Return the text by which each item is embedded, in the order of the frame."""
    columns = ("title", "brand", "category", "domain", "text")
    return [item_text(*row) for row in items.select(columns).iter_rows()]


def document(item: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of an item for the lexical index; details are all that is left."""
    fields = {name: item[name] for name in ("title", "brand", "category", "domain")}
    fields["text"], rest = split_description(item["text"])
    fields["details"] = f"{rest} {attribute_words(item['attributes'])}"
    return fields


def attribute_words(attributes: str) -> str:
    """Turn a JSON object into words: "6 OZ" for {"size": "6 OZ"}, "organic" for yes, "" for no."""
    words = []
    for name, value in json.loads(attributes or "{}").items():
        text = str(value)
        if text.casefold() in {"yes", "true"}:
            words.append(name)
        elif text.casefold() not in {"no", "false", ""}:
            words.append(f"{name} {text}")
    return " ".join(words)


def export_search(vectors: Scores, path: Path) -> float:
    """Write the dense half as ONNX; return its largest difference from torch.

    vectors float32 [n, d], unit or zero rows. Raises ExportMismatch.
    """
    distinct, where = np.unique(vectors, axis=0, return_inverse=True)
    model = DenseSearch(torch.from_numpy(distinct), torch.from_numpy(where.astype(np.int64))).eval()
    names = ["vector", "history", "history_weight", "candidates", "k"]
    outputs = ["rows", "scores", "candidate_scores", "text_vector"]
    second = {"history": "L", "history_weight": "L", "candidates": "C", "rows": "k", "scores": "k"}
    axes = {n: {0: "B"} for n in [*names[:-1], *outputs]}
    for name, axis in {**second, "candidate_scores": "C"}.items():
        axes[name][1] = axis
    with warnings.catch_warnings():
        # The newer exporter needs packages we do not ship; this one does all we use.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            _probe(len(vectors), 2, 3, 4, vectors.shape[1]),
            str(path),
            input_names=names,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
            # Folding would store the transposed vectors a second time.
            do_constant_folding=False,
        )
    probe = _probe(len(vectors), 3, 5, 2, vectors.shape[1])
    with torch.no_grad():
        trained = model(*probe)
    feed = {name: tensor.numpy() for name, tensor in zip(names, probe, strict=True)}
    exported = open_session(path).run(outputs, feed)
    return max(
        check_parity(name, a.numpy(), b, tolerance=EXPORT_TOLERANCE)
        for name, a, b in zip(outputs, trained, exported, strict=True)
        if name != "rows"  # equal scores may change places
    )


def _probe(
    n: int, batch: int, length: int, candidates: int, width: int
) -> tuple[torch.Tensor, ...]:
    """Return inputs of the graph for a catalogue of n items; the last row has no query."""
    random = torch.Generator().manual_seed(batch)
    vector = torch.nn.functional.normalize(torch.randn(batch, width, generator=random), dim=1)
    vector[-1] = 0
    history = torch.randint(0, n + 1, (batch, length), generator=random)
    weight = torch.rand(batch, length, generator=random)
    rows = torch.randint(0, n + 1, (batch, candidates), generator=random)
    return vector, history, weight, rows, torch.tensor([min(3, n)])


def _histories(
    events: pl.DataFrame, keys: Keys, queries: tuple[str, ...], config: Config
) -> Histories:
    """Return histories for samples; where there are no events, a few items stand in."""
    if events.height:
        return sample_histories(events, seed=config.seed, queries=queries)
    drawn = np.random.default_rng(config.seed).choice(keys, (3, 4))
    return Histories(drawn, np.ones(drawn.shape, np.float32), queries)
