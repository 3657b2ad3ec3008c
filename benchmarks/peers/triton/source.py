"""One of the four models; Triton has put the calls that waited into one batch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from benchmarks.job.models import Model


class TritonPythonModel:
    """What Triton's Python backend loads."""

    def initialize(self, arguments: dict[str, str]) -> None:
        """Open the model that this Triton model is named after."""
        parameters = json.loads(arguments["model_config"])["parameters"]
        repository = Path(parameters["repository"]["string_value"])
        self._model = Model(repository, arguments["model_name"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer all requests with one run."""
        histories = [pb_utils.get_input_tensor_by_name(r, "history").as_numpy() for r in requests]
        whole = histories[0] if len(histories) == 1 else np.concatenate(histories)
        keys, scores = self._model.best(whole)
        responses, start = [], 0
        for history in histories:
            rows = slice(start, start + len(history))
            start += len(history)
            outputs = [
                pb_utils.Tensor("item_keys", keys[rows]),
                pb_utils.Tensor("scores", scores[rows]),
            ]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses
