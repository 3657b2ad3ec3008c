"""The public Open Inference client works against every service, unchanged."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference import inference_pb2 as pb
from tests.integration.services.conftest import TINY
from tests.support.servers import PATIENCE, process

SERVICES = ("cf", "content", "sequence", "text")
CLIENT = Path(__file__).with_name("triton_client.py")
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="tritonclient is published for Linux"
)


@pytest.fixture(scope="module", params=SERVICES)
def seen(shared: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """What the client saw of a service's process."""
    model = request.param
    query = "peach yogurt" if model == "text" else ""
    with process(model, repository=shared) as started:
        port, _ = started.ports()
        done = subprocess.run(
            [sys.executable, str(CLIENT), f"127.0.0.1:{port}", model, query],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        yield {"name": model, **json.loads(done.stdout)}


def test_it_finds_the_server_and_its_model_alive_and_ready(seen: dict[str, Any]) -> None:
    assert seen["live"]
    assert seen["ready"]
    assert seen["model_ready"]
    assert seen["version_ready"]
    assert not seen["other_ready"]


def test_it_reads_the_metadata(seen: dict[str, Any]) -> None:
    name = seen["name"]
    assert seen["server"]["name"] == f"plait-{name}"
    model = seen["model"]
    assert (model["name"], model["versions"]) == (name, ["1"])
    wanted = {"history": "INT64", "history_weight": "FP32", "k": "INT64", "candidates": "INT64"}
    if name == "text":
        wanted["query"] = "BYTES"
    assert {t["name"]: t["datatype"] for t in model["inputs"]} == wanted
    assert {"name": name, "version": "1", "state": "READY"} in seen["index"]["models"]


def test_it_gets_tensors_of_the_right_shapes_and_types(seen: dict[str, Any]) -> None:
    retrieved = seen["retrieve"]
    assert retrieved["shapes"] == [[1, 5], [1, 5]]
    assert retrieved["types"] == ["int64", "float32"]
    assert retrieved["outputs"] == ["item_keys", "scores"]
    assert retrieved["id"] == "r1"
    assert len(set(retrieved["keys"][0]) & set(TINY.keys.tolist())) == 5
    assert seen["score"] == {"shape": [1, 4], "known": [[True, False, True, True]]}


def test_it_understands_every_refusal(seen: dict[str, Any]) -> None:
    assert {name: status for name, (status, _) in seen["errors"].items()} == {
        "datatype": "StatusCode.INVALID_ARGUMENT",
        "model": "StatusCode.NOT_FOUND",
        "version": "StatusCode.NOT_FOUND",
        "metadata": "StatusCode.NOT_FOUND",
        "output": "StatusCode.INVALID_ARGUMENT",
    }
    assert seen["errors"]["datatype"][1] == "history: wants INT64, got FP32"


def test_it_can_unload_and_load(seen: dict[str, Any]) -> None:
    assert not seen["ready_after_unload"]
    assert seen["ready_after_load"]


def test_our_messages_have_the_names_and_numbers_of_the_published_protocol(
    seen: dict[str, Any],
) -> None:
    compared = 0

    def compare(message: Any) -> None:
        nonlocal compared
        published = seen["protocol"][message.full_name]
        for field in message.fields:
            inner = field.message_type and field.message_type.full_name
            ours = [field.number, field.type, field.is_repeated, inner]
            assert ours == published[field.name], f"{message.full_name}.{field.name}"
            compared += 1
        for nested in message.nested_types:
            compare(nested)

    for message in pb.DESCRIPTOR.message_types_by_name.values():
        compare(message)
    assert compared > 60
