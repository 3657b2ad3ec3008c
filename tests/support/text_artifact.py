"""A tiny text artifact: a word-table encoder, a dense search and a lexical index, all real."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from artifacts import layout
from artifacts import manifest as manifests
from artifacts.engine import record_sample
from artifacts.engines.distinct import WHERE
from artifacts.engines.encoder import ENCODER, TOKENIZER, WIDTH, TextEncoder
from artifacts.engines.lexical import LEXICAL, build_lexical
from artifacts.engines.text import TextEngine
from artifacts.keys import Keys
from plait.v1.manifest_pb2 import Manifest, Sample, TensorSpec
from tests.support.artifacts import build_model, wire_inputs, wire_outputs

TITLES = (
    "greek yogurt strawberry",
    "low fat yogurt vanilla",
    "yogurt drink peach",
    "wheat bread sliced",
    "rye bread whole",
    "butter salted",
    "strawberry jam",
    "peach tea iced",
)
KEYS: Keys = 1000 + 10 * np.arange(len(TITLES), dtype=np.int64)
_MARKS = ("[UNK]", "[CLS]", "[SEP]")


def publish_text(repository: Path) -> int:
    """Write a version of a text artifact over `TITLES`; return its number."""
    with layout.publish(repository, "text") as (directory, version):
        write_encoder(directory)
        vectors = TextEncoder(directory).encode(TITLES)
        _write_search(directory, vectors)
        documents = [{"title": title} for title in TITLES]
        build_lexical(directory / LEXICAL, documents)
        query = TensorSpec(name="query", datatype="BYTES", shape=[-1, 1], optional=True)
        inputs = [*wire_inputs(), query]
        inputs[0].optional = True
        manifest = Manifest(
            source="text",
            version=version,
            engine="text",
            inputs=inputs,
            outputs=wire_outputs(WIDTH),
        )
        engine = TextEngine(directory, manifest, KEYS)
        for sample in (
            Sample(query="yogurt", k=3),
            Sample(query="bread", candidates=[*KEYS[:4], 7]),
            Sample(history=KEYS[:2], history_weight=[1.0, 1.0], k=3),
        ):
            manifest.samples.append(record_sample(engine, sample))
        manifests.write(directory, manifest, KEYS)
    return version


def write_encoder(directory: Path) -> None:
    """Write a tokenizer and encoder.onnx: a text is the sum of its words' vectors, made unit."""
    words = sorted({word for title in TITLES for word in title.split()})
    vocabulary = {word: i for i, word in enumerate((*_MARKS, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_MARKS[0]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(directory / TOKENIZER))
    table = np.random.default_rng(0).normal(size=(len(vocabulary), WIDTH)).astype(np.float32)
    table[: len(_MARKS)] = 0.0
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("ReduceSum", ["words", "one"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["unit"], axis=-1, p=2),
        helper.make_node("Cast", ["mask"], ["counted"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["counted", "one"], ["real"], keepdims=1),
        helper.make_node("Mul", ["unit", "real"], ["encoded"]),
    ]
    tokens = ("B", "T")
    onnx.save(
        build_model(
            nodes,
            {"ids": tokens, "mask": tokens},
            {"encoded": ("B", WIDTH)},
            {"table": table, "one": np.array([1])},
            integers={"ids", "mask"},
        ),
        directory / ENCODER,
    )


def _write_search(directory: Path, vectors: np.ndarray) -> None:
    """Compare a query's vector, or else the history's, with every item's; no two are equal."""
    np.save(directory / WHERE, np.arange(len(vectors), dtype=np.int32))
    table = np.concatenate([np.zeros((1, WIDTH), np.float32), vectors])
    hidden = np.zeros(len(table), np.float32)
    hidden[0] = -np.inf
    nodes = [
        helper.make_node("Gather", ["table", "history"], ["liked"]),
        helper.make_node("Unsqueeze", ["history_weight", "two"], ["weight"]),
        helper.make_node("Mul", ["liked", "weight"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "one"], ["profile"], keepdims=0),
        helper.make_node("ReduceL2", ["vector", "one"], ["length"], keepdims=1),
        helper.make_node("Greater", ["length", "zero"], ["asked"]),
        helper.make_node("Where", ["asked", "vector", "profile"], ["text_vector"]),
        helper.make_node("MatMul", ["text_vector", "items"], ["all"]),
        helper.make_node("Add", ["all", "hidden"], ["allowed"]),
        helper.make_node("TopK", ["allowed", "k"], ["scores", "texts"]),
        helper.make_node("GatherElements", ["all", "candidates"], ["candidate_scores"], axis=1),
    ]
    onnx.save(
        build_model(
            nodes,
            {
                "vector": ("B", WIDTH),
                "history": ("B", "L"),
                "history_weight": ("B", "L"),
                "candidates": ("B", "C"),
                "k": (1,),
            },
            {
                "texts": ("B", "K"),
                "scores": ("B", "K"),
                "candidate_scores": ("B", "C"),
                "text_vector": ("B", WIDTH),
            },
            {
                "table": table,
                "items": np.ascontiguousarray(table.T),
                "hidden": hidden,
                "zero": np.array(0.0, np.float32),
                "one": np.array([1]),
                "two": np.array([2]),
            },
            integers={"history", "candidates", "k", "texts"},
        ),
        directory / manifests.MODEL,
    )
