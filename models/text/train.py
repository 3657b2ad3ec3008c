"""From a catalogue to a text artifact: vectors, a search graph, a lexical index.

The one idea: a catalogue says enough about itself. The packaged encoder is used as it is, BM25
counts, and one weight combines them, unless the catalogue is asked to teach more:
to fine-tune the encoder (tune.py), or a weight for each query (weigh.py).
"""

import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from artifacts import layout
from artifacts.disk import whole
from artifacts.engine import Scores
from artifacts.engines.encoder import ENCODER, TOKENIZER, WIDTH, TextEncoder
from artifacts.engines.lexical import FOLDED, KANA, LEXICAL, PIECES, LexicalIndex, build_lexical
from artifacts.engines.query_weight import CATALOGUE_READ, FED_BACK, PREFIX, UNREAD_WEIGHT
from artifacts.engines.text import DENSE_WEIGHT, FEEDBACK, UNREAD, TextEngine
from artifacts.keys import KeyIndex, Keys
from artifacts.manifest import MODEL
from models.codes import build_codes
from models.data.errors import DatasetError
from models.export import Origin, finish, new_manifest, wire_inputs, wire_outputs
from models.histories import Histories, sample_histories
from models.index import Finder, build_index, measured
from models.progress import Progress, part
from models.text.documents import document, item_texts
from models.text.encode import (
    encode_texts,
    fingerprint,
    prepare_encoder,
)
from models.text.evaluate import known_items, sample_queries
from models.text.export import EXPORT_TOLERANCE, distinct_rows, export_search
from models.text.packaged import ENGLISH, packaged
from models.text.pairs import Known, Pair, known_of, make_pairs
from models.text.tune import Tuning, fine_tune
from models.text.weigh import Weighed, weigh
from plait.v1.manifest_pb2 import Manifest

# The metric of an artifact that reads queries only: which part of its index's lists the
# profiles of shoppers would have needed.
LEFT_OUT = "profiles_left_out"
# So many items say how much of the catalogue the encoder reads.
_LOOKED_AT = 2_000
# Pairs that are made for a fine-tuning.
_PAIRS = 4_000


@dataclass(frozen=True)
class Config:
    """How a catalogue is made searchable."""

    # Share of the dense half in a score. More finds what means the same in other words;
    # less keeps to the words themselves, which names and numbers need, and catalogues in other
    # languages than English, which the packaged encoder reads hardly.
    # This is the weight where none is learned for each query.
    dense_weight: float = DENSE_WEIGHT
    # The same where the encoder reads next to nothing of the query or of the catalogue, such as
    # Chinese, Japanese, Korean, Russian or Greek; in between where it reads less than half.
    # As much as dense_weight: one weight for all.
    unread_weight: float = UNREAD
    # How far a query is moved to the three items that it finds best, before it is asked for good.
    # More follows what was found, right or wrong; 0: a query is asked once.
    feedback: float = FEEDBACK
    # Searches of every kind that are made up of the catalogue to learn that weight for each
    # query. More: steadier, a minute for a thousand; 0: the same weight for all.
    made_up: int = 0
    # Which packaged encoder reads: "english", or "multilingual" for a hundred languages, also where
    # the query's is not the catalogue's. That needs the extra of the same name, twice the time of
    # a text, and 120 MB more of memory and disk; in English it finds less well.
    encoder: str = ENGLISH
    # Steps by which the encoder is fine-tuned on the catalogue and the events first (tune.py);
    # 0: as packaged. A hundred take about 10 minutes on one CPU thread.
    fine_tune: int = 0
    # Served in 8 bits: a third smaller, several times as fast. False is for measuring the loss.
    int8: bool = True
    # Newest events that make up a shopper's profile where there is no query. More is
    # steadier, less follows the moment.
    max_history: int = 50
    # Catalogues of so many items are searched by lists: of vectors this wide they are ahead
    # sooner. Lower: an item in a hundred is missed; see models/index.py.
    index_from: int = 50_000
    # Most of an index's lists that a shopper's profile may need. The mean of many texts is
    # near everything: where it needs more, histories are not read, and without a query text
    # is not asked. 1: they are, whatever it costs.
    most_lists: float = 0.125
    # Of the sampled requests; nothing else is random.
    seed: int = 0
    # Where the exported encoder is kept between runs. It depends on nothing but its package.
    cache: str = ".cache"

    def __post_init__(self) -> None:
        """Raise ValueError for a share beyond 0 to 1, or an encoder that there is none of."""
        packaged(self.encoder)
        for name in ("dense_weight", "unread_weight", "feedback", "most_lists"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a share from 0 to 1")


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
        reader = TextEncoder(directory)
        weighed = _weighed(config, items, vectors, reader)
        queries = sample_queries(items, events, seed=config.seed)
        histories = _histories(events, keys, queries, config)
        finder, left_out = _finder(config, vectors, keys, histories, reader)
        worst = export_search(vectors, directory / MODEL, finder)
        weights = _weights(config, items, weighed, reader)
        metrics = {
            "export_difference": worst,
            **finder.metrics,
            **left_out,
            **learned,
            **weighed.metrics,
            CATALOGUE_READ: weights[CATALOGUE_READ],
        }
        manifest = _manifest(
            Origin("text", version, config, events),
            metrics,
            {**weights, "max_history": config.max_history, **finder.settings},
            reads_history=not left_out,
        )
        engine = TextEngine(directory, manifest, keys)
        progress(950, 1000, "searching for known items")
        manifest.metrics.update(known_items(engine, items, seed=config.seed))
        finish(directory, manifest, keys, engine, histories)
    progress(1000, 1000, "text artifact written")
    return repository / "text" / str(version)


def _manifest(
    origin: Origin,
    metrics: Mapping[str, float],
    parameters: Mapping[str, float],
    *,
    reads_history: bool,
) -> Manifest:
    return new_manifest(
        origin,
        engine="text",
        inputs=wire_inputs(reads_query=True, reads_history=reads_history),
        outputs=wire_outputs(embedding=WIDTH),
        metrics=metrics,
        tolerance=EXPORT_TOLERANCE,
        engine_parameters={**parameters, PIECES: 1, FOLDED: 1, KANA: 1},
    )


def _encoder(
    config: Config, items: pl.DataFrame, events: pl.DataFrame, progress: Progress
) -> tuple[Path, dict[str, float]]:
    """Return the directory of the encoder, fine-tuned if wanted, and what that measured."""
    cache = Path(config.cache)
    if not config.fine_tune:
        return prepare_encoder(cache, encoder=config.encoder, int8=config.int8), {}

    texts = item_texts(items)
    tuning = Tuning(steps=config.fine_tune, seed=config.seed)
    # The same data and settings find the encoder that was fine-tuned before.
    given = (repr(tuning), str(_PAIRS), *texts, str(events.height), str(events.hash_rows().sum()))
    if config.encoder != ENGLISH:
        given = (config.encoder, *given)
    kept = cache / f"tuned-{fingerprint(given)}.pt"
    weights = packaged(config.encoder).read()
    model = weights.encoder()
    if kept.is_file():
        found = torch.load(kept, weights_only=True)
        model.load_state_dict(found["weights"])
        metrics: dict[str, float] = found["metrics"]
    else:
        pairs = _pairs(config, items, events, texts)
        model, metrics = fine_tune(model, weights.tokenizer(), pairs, tuning, progress)
        cache.mkdir(parents=True, exist_ok=True)
        # By way of memory: of a file that torch cannot write it does not say why.
        content = io.BytesIO()
        torch.save({"weights": model.state_dict(), "metrics": metrics}, content)
        with whole(kept) as draft:
            draft.write_bytes(content.getbuffer())
    tuned = (kept.stem, model)
    return prepare_encoder(cache, encoder=config.encoder, int8=config.int8, tuned=tuned), metrics


def _pairs(
    config: Config, items: pl.DataFrame, events: pl.DataFrame, texts: list[str]
) -> tuple[list[Pair], Known]:
    known = known_of(items, texts)
    with tempfile.TemporaryDirectory() as scratch:
        build_lexical(Path(scratch) / LEXICAL, map(document, items.iter_rows(named=True)))
        index = LexicalIndex(Path(scratch) / LEXICAL)
        return make_pairs(items, events, (known, index), count=_PAIRS, seed=config.seed), known


def _weighed(config: Config, items: pl.DataFrame, vectors: Scores, reader: TextEncoder) -> Weighed:
    if not config.made_up:
        return Weighed({}, {})
    return weigh(items, vectors, reader.encode, each=config.made_up, seed=config.seed)


def _weights(
    config: Config, items: pl.DataFrame, weighed: Weighed, reader: TextEncoder
) -> dict[str, float]:
    """Return what an engine's weight of meaning is made of."""
    sample = items.sample(min(_LOOKED_AT, items.height), seed=config.seed)
    return {
        "dense_weight": config.dense_weight,
        UNREAD_WEIGHT: config.unread_weight,
        FED_BACK: config.feedback,
        CATALOGUE_READ: float(np.mean([reader.reads(text) for text in item_texts(sample)])),
        **{PREFIX + name: value for name, value in weighed.learned.items()},
    }


def _finder(
    config: Config, vectors: Scores, keys: Keys, histories: Histories, reader: TextEncoder
) -> tuple[Finder, dict[str, float]]:
    """Make what finds the distinct vectors, measured with queries and shoppers' profiles.

    Where profiles need too many lists, they are for queries alone, and the second result
    says how many they need.
    """
    rows = KeyIndex(keys).rows(histories.keys[:, -config.max_history :])
    profiles = _unit((vectors[np.maximum(rows - 1, 0)] * (rows > 0)[:, :, None]).sum(axis=1))
    queries = _unit(reader.encode(histories.queries))
    distinct = distinct_rows(vectors)[0]
    users = np.concatenate([queries, profiles])
    if len(keys) < config.index_from:
        return build_codes(distinct, users), {}
    both = build_index(distinct, users, seed=config.seed)
    if both.share <= config.most_lists:
        return both, {}
    return measured(distinct, both, queries), {LEFT_OUT: both.share}


def _unit(vectors: Scores) -> Scores:
    """Return the vectors [U, d] brought to length 1, without those that have none."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Scores = (vectors / np.maximum(length, 1e-9))[length[:, 0] > 0].astype(np.float32)
    return unit


def _histories(
    events: pl.DataFrame, keys: Keys, queries: tuple[str, ...], config: Config
) -> Histories:
    """Return histories for samples; where there are no events, a few items stand in."""
    if events.height:
        return sample_histories(events, seed=config.seed, queries=queries)
    drawn = np.random.default_rng(config.seed).choice(keys, (3, 4))
    return Histories(drawn, np.ones(drawn.shape, np.float32), queries)
