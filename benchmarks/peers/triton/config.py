"""Writes Triton's model repository: a configuration and a Python file for each model.

Dynamic batching without a delay: calls that wait form the next batch, an idle model
starts at once. One instance a model, two of the fusion, so that one merges while
the other waits for models.
"""

import shutil
from pathlib import Path

from benchmarks.job import CANDIDATES, SOURCES, TOP
from benchmarks.job.wire import JOB

_HERE = Path(__file__).parent
_MAX_BATCH = 64
_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: {batch}
input [ {{ name: "history" data_type: TYPE_INT64 dims: [ -1 ] }} ]
output [
  {{ name: "item_keys" data_type: TYPE_INT64 dims: [ {width} ] }},
  {{ name: "scores" data_type: TYPE_FP32 dims: [ {width} ] }}
]
instance_group [ {{ count: {instances} kind: KIND_CPU }} ]
dynamic_batching {{ max_queue_delay_microseconds: 0 }}
parameters {{ key: "repository" value: {{ string_value: "{repository}" }} }}
"""


def write(directory: Path, repository: Path, *, fusions: int = 2) -> None:
    """Write the model repository into `directory`; `repository` holds the artifacts."""
    for name in SOURCES:
        _write(directory / name, "source.py", repository, CANDIDATES, 1)
    _write(directory / JOB, "job.py", repository, TOP, fusions)


def _write(home: Path, code: str, repository: Path, width: int, instances: int) -> None:
    (home / "1").mkdir(parents=True)
    shutil.copyfile(_HERE / code, home / "1" / "model.py")
    text = _CONFIG.format(
        name=home.name, batch=_MAX_BATCH, width=width, instances=instances, repository=repository
    )
    (home / "config.pbtxt").write_text(text)
