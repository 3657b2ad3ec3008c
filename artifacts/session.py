"""Opening ONNX Runtime sessions the one way Plait runs them.

One thread inside an operator, operators in sequence, no spinning: parallelism
comes from batches and processes, and four services share a small machine
without burning each other's cores.
"""

import contextlib
import functools
import io
from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from artifacts.errors import ArtifactCorrupt

# The GPU build of ONNX Runtime is installed by those who want it used.
PREFERRED = ("CUDAExecutionProvider",)


def open_session(
    path: Path, *, threads: int = 1, providers: Sequence[str] = PREFERRED
) -> ort.InferenceSession:
    """Open a graph; `providers` in order of preference, those not installed are skipped.

    Raises ArtifactCorrupt where the file is not a graph ONNX Runtime can run.
    """
    _load_cuda()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    available = ort.get_available_providers()
    chosen = [p for p in (*providers, "CPUExecutionProvider") if p in available]
    try:
        return ort.InferenceSession(str(path), options, providers=chosen)
    except Exception as error:  # ONNX Runtime raises many unrelated types
        raise ArtifactCorrupt(
            f"{path}: ONNX Runtime cannot load it ({type(error).__name__}: {error}); "
            "copy or train the version anew"
        ) from None


@functools.cache
def _load_cuda() -> None:
    """Load the CUDA libraries where pip installed them, which the system's loader does not know.

    Without them the GPU build computes on the CPU. What is missing ONNX Runtime says itself,
    on standard error, when it opens a session; this prints it, where JSON may be expected.
    """
    if "CUDAExecutionProvider" in ort.get_available_providers():
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls(directory="")  # pip's first, then the system's
