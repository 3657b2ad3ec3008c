"""The trained model as an ONNX graph, proven to compute the same.

Attention only answers for the newest place when serving, so the last layer
computes that one alone.
"""

import warnings
from pathlib import Path

import torch
from torch import Tensor

from artifacts.session import open_session
from models.export import check_parity
from models.sequence.model import SequenceModel

# ONNX against torch: scores are about -10 to 15, float32 sums of other order differ by 1e-5.
EXPORT_TOLERANCE = 1e-3
_OUTPUTS = ("rows", "scores", "candidate_scores", "embedding")


def export_model(model: SequenceModel, path: Path) -> float:
    """Write the graph; return its largest difference from torch on histories of other shapes.

    Raises ExportMismatch above EXPORT_TOLERANCE.
    """
    model.eval()
    with warnings.catch_warnings():
        # The newer exporter needs packages we do not ship; this one does all we use.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            probe(model, 2, min(5, model.shape.length), 4, 3),
            str(path),
            input_names=["history", "candidates", "k"],
            output_names=list(_OUTPUTS),
            dynamic_axes={
                "history": {0: "B", 1: "L"},
                "candidates": {0: "B", 1: "C"},
                "rows": {0: "B", 1: "K"},
                "scores": {0: "B", 1: "K"},
                "candidate_scores": {0: "B", 1: "C"},
                "embedding": {0: "B"},
            },
            opset_version=17,
            dynamo=False,
            # Folding would store the transposed item vectors a second time.
            do_constant_folding=False,
        )
    session = open_session(path)
    worst = 0.0
    for batch, length, candidates, k in ((1, 1, 1, 1), (3, model.shape.length, 7, 10)):
        inputs = probe(model, batch, length, candidates, k)
        names = ("history", "candidates", "k")
        feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        with torch.no_grad():
            trained = model(*inputs)
        exported = session.run(list(_OUTPUTS), feed)
        for name, ours, theirs in zip(_OUTPUTS, trained, exported, strict=True):
            if name != "rows":  # equal scores may change places
                found = check_parity(name, ours.numpy(), theirs, tolerance=EXPORT_TOLERANCE)
                worst = max(worst, found)
    return worst


def probe(
    model: SequenceModel, batch: int, length: int, candidates: int, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs of the graph: random rows, histories of several lengths, padded left."""
    items = model.shape.items
    random = torch.Generator().manual_seed(batch * 1_000 + length)
    history = torch.randint(1, items + 1, (batch, length), generator=random)
    for row in range(1, batch):
        history[row, : row * length // (batch + 1)] = 0
    wanted = torch.randint(0, items + 1, (batch, candidates), generator=random)
    return history, wanted, torch.tensor([min(k, items)])
