"""What a serving benchmark was measured on: the machine, its load, the versions that serve."""

import os
from importlib import metadata

import psutil

from cli import machine

_LIBRARIES = ("plait", "grpcio", "onnxruntime", "numpy", "protobuf", "tantivy", "tokenizers")


def describe() -> dict[str, object]:
    """Return the machine, its load at this moment and the versions; writable as JSON."""
    return {
        **machine.describe(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "versions": {name: metadata.version(name) for name in _LIBRARIES},
    }
