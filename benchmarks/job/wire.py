"""The same question in each system's own words, and its answer read back.

A codec names a protocol: it makes the request of a history (or of the shopper
whose history a gateway has stored) and reads the reply. Requests are made before
the clock starts, replies are read after it has stopped.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.job import TOP
from benchmarks.job.merge import Keys, Scores
from inference import inference_pb2 as pb
from plait.v1 import types_pb2 as t
from plait.v1.recommendation_service_pb2 import RecommendRequest, RecommendResponse, Shopper

Answer = tuple[Keys, Scores]
INFER = "/inference.GRPCInferenceService/ModelInfer"
RECOMMEND = "/plait.v1.RecommendationService/Recommend"
# The name under which every system that speaks the inference protocol does the job.
JOB = "job"


class WrongReply(Exception):
    """A reply that is not a whole answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One protocol."""

    request: Callable[[int, Keys], bytes]  # of shopper number i and their history [L]
    reply: Callable[[bytes], Answer]  # raises WrongReply
    content_type: str = "application/octet-stream"  # where it travels over HTTP


def shopper_id(number: int, length: int) -> str:
    """Return the id under which a shopper's history of `length` items is stored."""
    return f"shopper-{length}-{number}"


def _by_shopper(number: int, history: Keys) -> bytes:
    shopper = Shopper(user_id=shopper_id(number, len(history)))
    return RecommendRequest(shopper=shopper, surface=t.SURFACE_HOME).SerializeToString()


def _explained(number: int, history: Keys) -> bytes:
    request = RecommendRequest.FromString(_by_shopper(number, history))
    request.explain = True
    return request.SerializeToString()


def _by_events(number: int, history: Keys) -> bytes:
    del number
    events = [t.Event(item_id=str(k), type=t.EVENT_TYPE_PURCHASE) for k in history.tolist()]
    shopper = Shopper(events=events)
    return RecommendRequest(shopper=shopper, surface=t.SURFACE_HOME).SerializeToString()


def _read_recommend(reply: bytes) -> Answer:
    response = RecommendResponse.FromString(reply)
    if response.coverage.partial or response.coverage.fallback:
        late = [s.source for s in response.sources if s.outcome != t.SOURCE_OUTCOME_OK]
        raise WrongReply(f"partial: without {', '.join(late)}")
    keys = np.array([item.item_key for item in response.items], np.int64)
    return keys, np.array([item.score for item in response.items], np.float32)


def _infer(number: int, history: Keys) -> bytes:
    del number
    request = pb.ModelInferRequest(model_name=JOB)
    request.inputs.add(name="history", datatype="INT64", shape=[1, len(history)])
    request.raw_input_contents.append(history.tobytes())
    return request.SerializeToString()


def _read_infer(reply: bytes) -> Answer:
    response = pb.ModelInferResponse.FromString(reply)
    raw = dict(zip((o.name for o in response.outputs), response.raw_output_contents, strict=True))
    return np.frombuffer(raw["item_keys"], np.int64), np.frombuffer(raw["scores"], np.float32)


def _raw(number: int, history: Keys) -> bytes:
    del number
    return history.tobytes()


def _read_raw(reply: bytes) -> Answer:
    if len(reply) != 12 * TOP:
        raise WrongReply(f"{len(reply)} bytes: {reply[:80]!r}")
    return np.frombuffer(reply, np.int64, TOP), np.frombuffer(reply, np.float32, TOP, 8 * TOP)


def _json(number: int, history: Keys) -> bytes:
    del number
    return json.dumps({"histories": [history.tolist()]}).encode()


def _read_json(reply: bytes) -> Answer:
    try:
        ((keys, scores),) = json.loads(reply)
    except ValueError:
        raise WrongReply(f"{len(reply)} bytes: {reply[:80]!r}") from None
    return np.array(keys, np.int64), np.array(scores, np.float32)


CODECS = {
    "shopper": Codec(_by_shopper, _read_recommend),
    "events": Codec(_by_events, _read_recommend),
    "explained": Codec(_explained, _read_recommend),
    "infer": Codec(_infer, _read_infer),
    "raw": Codec(_raw, _read_raw),
    "json": Codec(_json, _read_json, "application/json"),
}


def differences(got: Answer, expected: Answer, *, tolerance: float = 2e-4) -> str:
    """Say how an answer differs from the expected one, "" where it does not.

    Scores must agree; items may change places only where the expected scores lie
    within the tolerance, because a batch rounds differently from a single row.
    """
    keys, scores = got
    if len(keys) != len(expected[0]) or len(np.unique(keys)) != len(keys):
        return f"{len(np.unique(keys))} items instead of {len(expected[0])}"
    apart = float(np.abs(scores - expected[1]).max())
    if not apart <= tolerance:
        return f"scores differ by {apart:.2g}"
    right = dict(zip(expected[0].tolist(), expected[1].tolist(), strict=True))
    # An item beyond the expected ones can only stand where the last of them ended.
    meant = np.array([right.get(key, float(expected[1][-1])) for key in keys.tolist()])
    wrong = keys[np.abs(meant - scores) > tolerance]
    return f"items {wrong.tolist()} do not belong there" if len(wrong) else ""
