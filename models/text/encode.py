"""Product texts to vectors: a packaged encoder exported, made int8, and run in bulk.

The one idea: training encodes with the very graph that is served, so an item's
vector is the same whether it was there at training or upserted a second ago.
"""

import hashlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import torch

from artifacts.disk import naming, temporary, whole
from artifacts.engine import Scores
from artifacts.engines.encoder import ENCODER, TOKENIZER, WIDTH, TextEncoder
from artifacts.session import open_session
from models.export import check_parity
from models.progress import Progress, silent
from models.text.model import SentenceEncoder
from models.text.packaged import ENGLISH, packaged

# fp32 ONNX against torch: largest difference of a coordinate of a unit vector.
EXPORT_TOLERANCE = 1e-5
# int8 against fp32: smallest cosine over an encoder's probes. Measured .985 to .997, mean .992.
INT8_COSINE = 0.98
_CHUNK = 64
# Its name, and the encoder.
Tuned = tuple[str, SentenceEncoder]
# Fewer distinct texts are encoded again in no time.
_WORTH_KEEPING = 1_000


class QuantisationError(Exception):
    """The int8 encoder is too far from the one it was made from."""


def encode_texts(
    texts: Sequence[str], progress: Progress = silent, *, directory: Path | None = None
) -> Scores:
    """Return unit rows, float32 [n, 384]; a zero row for a text without a word.

    Every distinct text is encoded once, longest last, on two threads (about 1 ms
    each). `directory` holds the exported encoder; by default it is made once
    under .cache/. A catalogue's vectors are kept beside it: two models read them.
    """
    unique, where = np.unique(np.array(list(texts), dtype=object), return_inverse=True)
    directory = directory or prepare_encoder()
    kept = _kept(unique.tolist(), directory)
    if kept.is_file():
        progress(len(unique), len(unique), "texts encoded before")
        # Mapped: a million vectors would be in memory twice.
        return cast(Scores, np.load(kept, mmap_mode="r", allow_pickle=False)[where])
    vectors = _encode(TextEncoder(directory, cache_size=0), unique.tolist(), progress)
    if len(unique) >= _WORTH_KEEPING:
        keep_vectors(unique.tolist(), vectors, directory)
    return vectors[where]


def keep_vectors(texts: Sequence[str], vectors: Scores, directory: Path) -> None:
    """Keep the vectors [n, 384] of distinct texts in ascending order, for the next that asks."""
    with whole(_kept(texts, directory)) as draft:
        np.save(draft, vectors)


def _kept(texts: Sequence[str], directory: Path) -> Path:
    return directory / f"vectors-{fingerprint(texts)}.npy"


def fingerprint(texts: Sequence[str]) -> str:
    """Return 32 characters that tell these texts from any others."""
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(text.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()


def _encode(encoder: TextEncoder, unique: Sequence[str], progress: Progress) -> Scores:
    order = sorted(range(len(unique)), key=lambda row: len(unique[row]))
    chunks = [order[at : at + _CHUNK] for at in range(0, len(order), _CHUNK)]
    vectors = np.zeros((len(unique), WIDTH), np.float32)
    done = 0
    with ThreadPoolExecutor(2, thread_name_prefix="encode") as pool:
        jobs = pool.map(lambda rows: encoder.encode([unique[row] for row in rows]), chunks)
        for rows, encoded in zip(chunks, jobs, strict=True):
            vectors[rows] = encoded
            done += len(rows)
            progress(done, len(unique), "encoding texts")
    return vectors


def prepare_encoder(
    cache: Path = Path(".cache"),
    *,
    encoder: str = ENGLISH,
    int8: bool = True,
    tuned: Tuned | None = None,
) -> Path:
    """Return a directory with encoder.onnx and tokenizer.json, made once (5 to 30 s).

    `tuned` is a fine-tuned encoder and a name that tells it from any other. Several
    processes may ask at once: each builds beside, the first rename wins.
    Raises ValueError, EncoderMissing, PackedCorrupt, ExportMismatch or QuantisationError.
    """
    which = packaged(encoder)
    name = f"encoder-{'' if encoder == ENGLISH else encoder + '-'}{which.installed()}"
    name = f"{name}-{which.revision}{'' if int8 else '-fp32'}"
    ready = cache / (f"{name}-{tuned[0]}" if tuned else name)
    if ready.is_dir():
        return ready
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".encoder-", dir=cache))
    try:
        with naming(cache):
            weights = which.read()
            # Its own `save` tells of a full disk in a way of its own.
            (draft / TOKENIZER).write_text(weights.tokenizer().to_str(), encoding="utf-8")
            export_encoder(tuned[1] if tuned else weights.encoder(), draft, which.probes, int8=int8)
        draft.chmod(0o755)
        draft.rename(ready)
    except OSError:
        if not ready.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ready


def export_encoder(
    model: SentenceEncoder, directory: Path, probes: Sequence[str], *, int8: bool = True
) -> float:
    """Write encoder.onnx beside tokenizer.json; return the worst cosine of int8 with fp32.

    Raises ExportMismatch or QuantisationError.
    """
    with temporary() as scratch:
        full = scratch / "fp32.onnx"
        _export_fp32(model, full)
        _check_fp32(model, full)
        if not int8:
            shutil.copyfile(full, directory / ENCODER)
            return 1.0
        with naming(directory):
            _quantise(full, directory / ENCODER)
        shutil.copyfile(full, scratch / ENCODER)
        shutil.copyfile(directory / TOKENIZER, scratch / TOKENIZER)
        exact = TextEncoder(scratch).encode(probes)
    rough = TextEncoder(directory).encode(probes)
    worst = float((exact * rough).sum(axis=1).min())
    if worst < INT8_COSINE:
        raise QuantisationError(
            f"{directory / ENCODER}: cosine {worst:.3f} against fp32, at least {INT8_COSINE} wanted"
        )
    return worst


def _export_fp32(model: SentenceEncoder, path: Path) -> None:
    ids = torch.ones(2, 5, dtype=torch.int64)
    axes = {"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}}
    with warnings.catch_warnings():
        # The newer exporter needs packages we do not ship; this one does all we use.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model,
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=["ids", "mask"],
            output_names=["text_vector"],
            dynamic_axes={**axes, "text_vector": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )


def _quantise(full: Path, small: Path) -> None:
    # Imported here: it pulls in much that bulk encoding does not need.
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

    # It warns through the root logger about a pre-processing step that brings nothing here.
    logging.getLogger().addFilter(_not_preprocessing)
    try:
        quantize_dynamic(
            full,
            small,
            op_types_to_quantize=["MatMul"],
            # One scale per output column: cosine .992 instead of .961.
            per_channel=True,
            # Seven bits: older processors overflow on eight; it costs .001 of cosine.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        logging.getLogger().removeFilter(_not_preprocessing)


def _not_preprocessing(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()


def _check_fp32(model: SentenceEncoder, path: Path) -> None:
    """Compare torch and ONNX on padded batches of another shape than the export's."""
    random = np.random.default_rng(0)
    ids = random.integers(1_000, 30_000, (3, 17))
    mask = (np.arange(17)[None] < np.array([[17], [9], [3]])).astype(np.int64)
    with torch.no_grad():
        trained = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    exported = open_session(path).run(None, {"ids": ids, "mask": mask})[0]
    check_parity("text encoder", trained, exported, tolerance=EXPORT_TOLERANCE)
