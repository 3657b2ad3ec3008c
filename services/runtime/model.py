"""The contract between the runtime and what a service serves.

A model reads one request into a question, answers several questions of the same
kind at once, and is never asked from two threads together. The runtime does the
rest: transport, validation against the declared tensors, batching, metrics,
versions. Implementations: engine_model.py for every recommender, and a few
lines each for the encoders that content and text serve beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from inference import inference_pb2 as pb
from plait.v1.manifest_pb2 import TensorSpec

Array = npt.NDArray[np.generic]
Outputs = Mapping[str, Array]


class Question(Protocol):
    """One request, read and found valid."""

    @property
    def rows(self) -> int:
        """Rows of the batch this request brings, at least 1."""
        ...

    @property
    def kind(self) -> str:
        """Questions of one kind may ride in one batch."""
        ...

    @property
    def answers(self) -> Sequence[str]:
        """Outputs the answer will have, a subset of the model's."""
        ...


Q = TypeVar("Q", bound=Question)


class Model(Protocol[Q]):
    """One version of one model."""

    @property
    def version(self) -> int:
        """The artifact's version."""
        ...

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """What it takes, as callers see it."""
        ...

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """What it gives, as callers see it."""
        ...

    def read(self, inputs: Mapping[str, Array], parameters: Mapping[str, pb.InferParameter]) -> Q:
        """Make a question of inputs whose names, types and shapes fit `self.inputs`.

        Runs on the event loop: microseconds only. Raises InvalidArgument.
        """
        ...

    def merge(self, questions: Sequence[Q]) -> Any:
        """Put questions of one kind into one batch, in order."""
        ...

    def infer(self, batch: Any) -> Any:
        """Compute. The only method that may take long; called from one thread at a time."""
        ...

    def split(self, result: Any, questions: Sequence[Q]) -> Sequence[Outputs]:
        """Take a result apart, one mapping from output name to array per question."""
        ...

    def warm_up(self, rows: Sequence[int]) -> None:
        """Compute once at each batch size, so that no caller pays for first times."""
        ...
