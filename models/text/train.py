"""From a catalogue to a text artifact: vectors, a search graph, a lexical index.

The one idea: a catalogue says enough about itself. The packaged encoder is used as it is, BM25
counts, and one weight combines them, unless the catalogue is asked to teach more:
to fine-tune the encoder (tune.py), or a weight for each query (weigh.py).
"""

import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer

from artifacts import layout
from artifacts.engine import Scores
from artifacts.engines.distinct import WHERE
from artifacts.engines.encoder import ENCODER, TOKENIZER, WIDTH, TextEncoder
from artifacts.engines.lexical import LEXICAL, LexicalIndex, build_lexical
from artifacts.engines.nearest import TABLE
from artifacts.engines.query_weight import PREFIX
from artifacts.engines.text import DENSE_WEIGHT, TextEngine
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from artifacts.session import open_session
from models.data.errors import DatasetError
from models.export import Origin, check_parity, finish, new_manifest, wire_inputs, wire_outputs
from models.histories import Histories, sample_histories
from models.index import (
    INDEX_FROM,
    Index,
    build_index,
    map_table,
    measured,
    measures,
    save_index,
    settings,
)
from models.progress import Progress, part
from models.text.documents import document, item_texts
from models.text.encode import encode_texts, fingerprint, package_directory, prepare_encoder
from models.text.evaluate import known_items, sample_queries
from models.text.model import DenseSearch, IndexedSearch, load_encoder
from models.text.pairs import Known, Pair, known_of, make_pairs
from models.text.tune import Tuning, fine_tune
from models.text.weigh import Weighed, weigh

# A cosine in ONNX against the same in torch.
EXPORT_TOLERANCE = 1e-5
_INPUTS = ("vector", "history", "history_weight", "candidates", "k")
_SEARCHED = ("candidate_scores", "text_vector")
# The metric of an artifact that reads queries only: which part of its index's lists the
# profiles of shoppers would have needed.
LEFT_OUT = "profiles_left_out"
# Rows compared at once.
_BLOCK = 4_096
# Pairs that are made for a fine-tuning.
_PAIRS = 4_000


@dataclass(frozen=True)
class Config:
    """How a catalogue is made searchable."""

    # Share of the dense half in a score. More finds what means the same in other words;
    # less keeps to the words themselves, which names and numbers need.
    # This is the weight where none is learned for each query.
    dense_weight: float = DENSE_WEIGHT
    # Searches of every kind that are made up of the catalogue to learn that weight for each
    # query. More: steadier, a minute for a thousand; 0: the same weight for all.
    made_up: int = 0
    # Steps by which the encoder is fine-tuned on the catalogue and the events first (tune.py);
    # 0: as packaged. A hundred take about 10 minutes on one CPU thread.
    fine_tune: int = 0
    # Served in 8 bits: a third smaller, several times as fast. False is for measuring the loss.
    int8: bool = True
    # Newest events that make up a shopper's profile where there is no query. More is
    # steadier, less follows the moment.
    max_history: int = 50
    # Catalogues of so many items are searched by an index. Lower: faster, and an item in a
    # hundred is missed; see models/index.py.
    index_from: int = INDEX_FROM
    # Most of an index's lists that a shopper's profile may need. The mean of many texts is
    # near everything: where it needs more, histories are not read, and without a query text
    # is not asked. 1: they are, whatever it costs.
    most_lists: float = 0.125
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
    encoder, learned = _encoder(config, items, events, part(progress, 0.0, 0.5))
    start = 0.5 if config.fine_tune else 0.0
    vectors = encode_texts(item_texts(items), part(progress, start, 0.9), directory=encoder)
    with layout.publish(repository, "text") as (directory, version):
        for name in (ENCODER, TOKENIZER):
            shutil.copyfile(encoder / name, directory / name)
        progress(900, 1000, "indexing words")
        build_lexical(directory / LEXICAL, map(document, items.iter_rows(named=True)))
        progress(910, 1000, "weighing words and meaning")
        weighed = _weighed(config, items, vectors, directory)
        queries = sample_queries(items, events, seed=config.seed)
        histories = _histories(events, keys, queries, config)
        index, left_out = _index(config, vectors, keys, histories, directory)
        if index is None:
            worst = export_search(vectors, directory / MODEL)
        else:
            worst = export_indexed(vectors, directory / MODEL, index)
        manifest = new_manifest(
            Origin("text", version, config, events),
            engine="text",
            inputs=wire_inputs(reads_query=True, reads_history=not left_out),
            outputs=wire_outputs(embedding=WIDTH),
            metrics={
                "export_difference": worst,
                **measures(index),
                **left_out,
                **learned,
                **weighed.metrics,
            },
            tolerance=EXPORT_TOLERANCE,
            engine_parameters={
                "dense_weight": config.dense_weight,
                **{PREFIX + name: value for name, value in weighed.learned.items()},
                "max_history": config.max_history,
                **settings(index),
            },
        )
        engine = TextEngine(directory, manifest, keys)
        progress(950, 1000, "searching for known items")
        manifest.metrics.update(known_items(engine, items, seed=config.seed))
        finish(directory, manifest, keys, engine, histories)
    progress(1000, 1000, "text artifact written")
    return repository / "text" / str(version)


def _encoder(
    config: Config, items: pl.DataFrame, events: pl.DataFrame, progress: Progress
) -> tuple[Path, dict[str, float]]:
    """Return the directory of the encoder, fine-tuned if wanted, and what that measured."""
    cache = Path(config.cache)
    if not config.fine_tune:
        return prepare_encoder(cache, int8=config.int8), {}

    texts = item_texts(items)
    tuning = Tuning(steps=config.fine_tune, seed=config.seed)
    # The same data and settings find the encoder that was fine-tuned before.
    given = (repr(tuning), str(_PAIRS), *texts, str(events.height), str(events.hash_rows().sum()))
    kept = cache / f"tuned-{fingerprint(given)}.pt"
    home = package_directory()
    model = load_encoder(home / "model.safetensors")
    if kept.is_file():
        found = torch.load(kept, weights_only=True)
        model.load_state_dict(found["weights"])
        metrics: dict[str, float] = found["metrics"]
    else:
        pairs = _pairs(config, items, events, texts)
        tokenizer = Tokenizer.from_file(str(home / TOKENIZER))
        model, metrics = fine_tune(model, tokenizer, pairs, tuning, progress)
        cache.mkdir(parents=True, exist_ok=True)
        torch.save({"weights": model.state_dict(), "metrics": metrics}, kept)
    return prepare_encoder(cache, int8=config.int8, tuned=(kept.stem, model)), metrics


def _pairs(
    config: Config, items: pl.DataFrame, events: pl.DataFrame, texts: list[str]
) -> tuple[list[Pair], Known]:
    known = known_of(items, texts)
    with tempfile.TemporaryDirectory() as scratch:
        build_lexical(Path(scratch) / LEXICAL, map(document, items.iter_rows(named=True)))
        index = LexicalIndex(Path(scratch) / LEXICAL)
        return make_pairs(items, events, (known, index), count=_PAIRS, seed=config.seed), known


def _weighed(config: Config, items: pl.DataFrame, vectors: Scores, directory: Path) -> Weighed:
    if not config.made_up:
        return Weighed({}, {})
    encode = TextEncoder(directory).encode
    return weigh(items, vectors, encode, each=config.made_up, seed=config.seed)


def _index(
    config: Config, vectors: Scores, keys: Keys, histories: Histories, directory: Path
) -> tuple[Index | None, dict[str, float]]:
    """Index a large catalogue's distinct vectors, measured with queries and shoppers' profiles.

    Where profiles need too many lists, the index is for queries alone, and the second
    result says how many they need. A small catalogue has no index.
    """
    if len(keys) < config.index_from:
        return None, {}
    rows = KeyIndex(keys).rows(histories.keys[:, -config.max_history :])
    profiles = _unit((vectors[np.maximum(rows - 1, 0)] * (rows > 0)[:, :, None]).sum(axis=1))
    queries = _unit(TextEncoder(directory).encode(histories.queries))
    distinct = distinct_rows(vectors)[0]
    both = build_index(distinct, np.concatenate([queries, profiles]), seed=config.seed)
    if both.share <= config.most_lists:
        return both, {}
    return measured(distinct, both, queries), {LEFT_OUT: both.share}


def _unit(vectors: Scores) -> Scores:
    """Return the vectors [U, d] brought to length 1, without those that have none."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Scores = (vectors / np.maximum(length, 1e-9))[length[:, 0] > 0].astype(np.float32)
    return unit


def export_search(vectors: Scores, path: Path) -> float:
    """Write the dense half as ONNX; return its largest difference from torch.

    vectors float32 [n, d], unit or zero rows. Raises ExportMismatch.
    """
    distinct, where = distinct_rows(vectors)
    np.save(path.parent / WHERE, where.astype(np.int32))
    model = DenseSearch(torch.from_numpy(distinct), torch.from_numpy(where)).eval()
    names = (_INPUTS, ("texts", "scores", *_SEARCHED))
    few = torch.tensor([min(3, len(distinct))])
    _export(model, path, (*_probe(len(vectors), 2, 3, 4, vectors.shape[1]), few), names)
    return _worst(model, path, (*_probe(len(vectors), 3, 5, 2, vectors.shape[1]), few), names)


def export_indexed(vectors: Scores, path: Path, index: Index) -> float:
    """Write the dense half of a large catalogue, with the index of its distinct vectors."""
    distinct, where = distinct_rows(vectors)
    place = np.empty_like(index.order)
    place[index.order] = np.arange(len(index.order))
    where = place[where]
    np.save(path.parent / WHERE, where.astype(np.int32))
    save_index(path.parent, distinct, index)
    names = (_INPUTS[:-1], _SEARCHED)
    few = IndexedSearch(torch.from_numpy(distinct[:8]), torch.from_numpy(where)).eval()
    # The table in the export has a few vectors; asked is about items that have these.
    rows = torch.from_numpy(np.flatnonzero(where < len(few.vectors))[:2] + 1)
    probe = list(_probe(len(vectors), 2, 3, 4, vectors.shape[1]))
    probe[1], probe[3] = rows[probe[1] % len(rows)], rows[probe[3] % len(rows)]
    _export(few, path, tuple(probe), names)
    map_table(path, "vectors", path.parent / TABLE)
    # Mapped, and private to us: torch takes no read-only array.
    table = np.load(path.parent / TABLE, mmap_mode="c", allow_pickle=False)
    model = IndexedSearch(torch.from_numpy(table), torch.from_numpy(where)).eval()
    return _worst(model, path, _probe(len(vectors), 3, 5, 2, vectors.shape[1]), names)


def distinct_rows(vectors: Scores) -> tuple[Scores, Keys]:
    """Return the distinct rows [u, d] and which of them each row is, int64 [n].

    Compared by 64-bit sums of their bits: a million rows of width 384 are not sorted
    number by number, nor copied for it.
    """
    odd = np.random.default_rng(0).integers(0, 2**63, vectors.shape[1], np.uint64) * 2 + 1
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    blocks = [bits[at : at + _BLOCK] for at in range(0, len(bits), _BLOCK)]
    sums = np.concatenate([block.astype(np.uint64) @ odd for block in blocks])
    _, first, where = np.unique(sums, return_index=True, return_inverse=True)
    return vectors[first], where.astype(np.int64)


def _export(
    model: torch.nn.Module,
    path: Path,
    given: tuple[torch.Tensor, ...],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    second = {"history": "L", "history_weight": "L", "candidates": "C", "candidate_scores": "C"}
    second |= {"texts": "k", "scores": "k"}
    axes = {n: {0: "B"} for n in (*names[0], *names[1]) if n != "k"}
    for name, axis in second.items():
        if name in axes:
            axes[name][1] = axis
    with warnings.catch_warnings():
        # The newer exporter needs packages we do not ship; this one does all we use.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            given,
            str(path),
            input_names=list(names[0]),
            output_names=list(names[1]),
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
            # Folding would store the transposed vectors a second time.
            do_constant_folding=False,
        )


def _worst(
    model: torch.nn.Module,
    path: Path,
    given: tuple[torch.Tensor, ...],
    names: tuple[tuple[str, ...], tuple[str, ...]],
) -> float:
    with torch.no_grad():
        trained = model(*given)
    feed = {name: tensor.numpy() for name, tensor in zip(names[0], given, strict=True)}
    exported = open_session(path).run(list(names[1]), feed)
    return max(
        check_parity(name, a.numpy(), b, tolerance=EXPORT_TOLERANCE)
        for name, a, b in zip(names[1], trained, exported, strict=True)
        if name != "texts"  # equal scores may change places
    )


def _probe(
    n: int, batch: int, length: int, candidates: int, width: int
) -> tuple[torch.Tensor, ...]:
    """Return inputs of the graph but k for a catalogue of n items; the last row has no query."""
    random = torch.Generator().manual_seed(batch)
    vector = torch.nn.functional.normalize(torch.randn(batch, width, generator=random), dim=1)
    vector[-1] = 0
    history = torch.randint(0, n + 1, (batch, length), generator=random)
    weight = torch.rand(batch, length, generator=random)
    rows = torch.randint(0, n + 1, (batch, candidates), generator=random)
    return vector, history, weight, rows


def _histories(
    events: pl.DataFrame, keys: Keys, queries: tuple[str, ...], config: Config
) -> Histories:
    """Return histories for samples; where there are no events, a few items stand in."""
    if events.height:
        return sample_histories(events, seed=config.seed, queries=queries)
    drawn = np.random.default_rng(config.seed).choice(keys, (3, 4))
    return Histories(drawn, np.ones(drawn.shape, np.float32), queries)
