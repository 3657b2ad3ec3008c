"""A stranger's client against a service: prints what it saw as one JSON object.

Run as a script, `triton_client.py HOST:PORT MODEL [QUERY]`. It must not run in a process that
imports our protos: tritonclient registers the same package `inference`.
"""

import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

KEYS = np.array([[1000, 1010, 1020]], np.int64)


def main(address: str, model: str, query: str) -> None:
    """Do everything such a client does."""
    with triton.InferenceServerClient(address) as client:
        seen = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready(model),
            "version_ready": client.is_model_ready(model, "1"),
            "other_ready": client.is_model_ready("nothing"),
            "server": client.get_server_metadata(as_json=True),
            "model": client.get_model_metadata(model, as_json=True),
            "index": client.get_model_repository_index(as_json=True),
            "retrieve": _retrieve(client, model, query),
            "score": _score(client, model, query),
            "errors": _errors(client, model),
        }
        client.load_model(model)
        client.unload_model(model)
        seen["ready_after_unload"] = client.is_model_ready(model)
        client.load_model(model)
        seen["ready_after_load"] = client.is_model_ready(model)
    json.dump(seen | {"protocol": protocol()}, sys.stdout)


def _inputs(query: str) -> list[triton.InferInput]:
    history = triton.InferInput("history", KEYS.shape, "INT64")
    history.set_data_from_numpy(KEYS)
    weight = triton.InferInput("history_weight", KEYS.shape, "FP32")
    weight.set_data_from_numpy(np.ones(KEYS.shape, np.float32))
    if not query:
        return [history, weight]
    text = triton.InferInput("query", [1, 1], "BYTES")
    text.set_data_from_numpy(np.array([[query.encode()]], np.object_))
    return [history, weight, text]


def _retrieve(client: triton.InferenceServerClient, model: str, query: str) -> dict[str, Any]:
    k = triton.InferInput("k", [1, 1], "INT64")
    k.set_data_from_numpy(np.array([[5]], np.int64))
    wanted = [triton.InferRequestedOutput(n) for n in ("item_keys", "scores")]
    result = client.infer(
        model, [*_inputs(query), k], model_version="1", outputs=wanted, request_id="r1"
    )
    keys, scores = result.as_numpy("item_keys"), result.as_numpy("scores")
    response = result.get_response()
    return {
        "keys": keys.tolist(),
        "types": [str(keys.dtype), str(scores.dtype)],
        "shapes": [list(keys.shape), list(scores.shape)],
        "outputs": [o.name for o in response.outputs],
        "id": response.id,
    }


def _score(client: triton.InferenceServerClient, model: str, query: str) -> dict[str, Any]:
    candidates = triton.InferInput("candidates", [1, 4], "INT64")
    candidates.set_data_from_numpy(np.array([[1030, 7, 1040, 1050]], np.int64))
    scores = client.infer(model, [*_inputs(query), candidates]).as_numpy("scores")
    return {"shape": list(scores.shape), "known": np.isfinite(scores).tolist()}


def _errors(client: triton.InferenceServerClient, model: str) -> dict[str, list[str]]:
    wrong = triton.InferInput("history", [1, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 3), np.float32))
    calls = {
        "datatype": lambda: client.infer(model, [wrong]),
        "model": lambda: client.infer("nothing", _inputs("")),
        "version": lambda: client.infer(model, _inputs(""), model_version="99"),
        "metadata": lambda: client.get_model_metadata("nothing"),
        "output": lambda: client.infer(
            model, _inputs(""), outputs=[triton.InferRequestedOutput("nothing")]
        ),
    }
    errors = {}
    for name, call in calls.items():
        try:
            call()
        except InferenceServerException as error:
            errors[name] = [error.status(), error.message()]
    return errors


def protocol() -> dict[str, dict[str, list[Any]]]:
    """Return the fields of every message of the client's protocol: number, type, label."""
    messages: dict[str, dict[str, list[Any]]] = {}

    def note(message: Any) -> None:
        messages[message.full_name] = {
            f.name: [f.number, f.type, f.is_repeated, f.message_type and f.message_type.full_name]
            for f in message.fields
        }
        for nested in message.nested_types:
            note(nested)

    for message in service_pb2.DESCRIPTOR.message_types_by_name.values():
        note(message)
    return messages


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "".join(sys.argv[3:]))
