"""From a torch module to an ONNX file, in the one way that all models but the encoder use."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

OPSET = 17


def write_onnx(
    model: nn.Module,
    path: Path,
    given: tuple[Tensor, ...],
    names: tuple[Sequence[str], Sequence[str]],
    axes: Mapping[str, Mapping[int, str]],
) -> None:
    """Write the graph that the model runs on `given`.

    `names` are of its inputs and outputs; `axes` of those sizes that may differ, by tensor
    and dimension.
    """
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
            opset_version=OPSET,
            dynamo=False,
            # Folding would store the transposed item vectors a second time.
            do_constant_folding=False,
        )
