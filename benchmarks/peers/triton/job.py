"""The fusion as a BLS model: asks the four models inside the server, merges, replies.

The calls that waited come as one batch and are asked as one batch: four calls of
n rows instead of four times n calls.
"""

import asyncio
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from benchmarks.job import SOURCES
from benchmarks.job.merge import merge


class TritonPythonModel:
    """What Triton's Python backend loads."""

    async def execute(self, requests: list[Any]) -> list[Any]:
        """Do the job for all requests at once."""
        histories = [pb_utils.get_input_tensor_by_name(r, "history").as_numpy() for r in requests]
        whole = histories[0] if len(histories) == 1 else np.concatenate(histories)
        answers = await asyncio.gather(*(_ask(source, whole) for source in SOURCES))
        keys = np.stack([keys for keys, _ in answers], axis=1)  # [B, S, k]
        scores = np.stack([scores for _, scores in answers], axis=1)
        merged = [merge(k, s) for k, s in zip(keys, scores, strict=True)]
        responses, start = [], 0
        for history in histories:
            mine = merged[start : start + len(history)]
            start += len(history)
            outputs = [
                pb_utils.Tensor("item_keys", np.stack([k for k, _ in mine])),
                pb_utils.Tensor("scores", np.stack([s for _, s in mine])),
            ]
            responses.append(pb_utils.InferenceResponse(outputs))
        return responses


async def _ask(source: str, histories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    request = pb_utils.InferenceRequest(
        model_name=source,
        requested_output_names=["item_keys", "scores"],
        inputs=[pb_utils.Tensor("history", histories)],
    )
    response = await request.async_exec()
    if response.has_error():
        raise pb_utils.TritonModelException(response.error().message())
    keys, scores = (
        pb_utils.get_output_tensor_by_name(response, name).as_numpy()
        for name in ("item_keys", "scores")
    )
    return keys, scores
