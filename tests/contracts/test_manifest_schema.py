"""manifest.json loses nothing of the message it is written from."""

import json
from pathlib import Path

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from artifacts import manifest as manifests
from plait.v1.manifest_pb2 import Manifest

KEYS = np.array([7, 2**62, 3], np.int64)
# More than a double can hold: JSON writers that go through one would round it.
_VALUES = {
    FieldDescriptor.CPPTYPE_INT64: 2**53 + 1,
    FieldDescriptor.CPPTYPE_INT32: 1,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.1,
    FieldDescriptor.CPPTYPE_FLOAT: float(np.float32(0.1)),
    FieldDescriptor.CPPTYPE_STRING: "Grüße \u2603",
    FieldDescriptor.CPPTYPE_BOOL: True,
}


def fill(message: Message) -> None:
    """Set every field, repeated and nested ones too."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is None:
            plain = _VALUES[field.cpp_type]
            if field.is_repeated:
                value.extend([plain, plain])
            else:
                setattr(message, field.name, plain)
        elif field.message_type.GetOptions().map_entry:
            value["name"] = _VALUES[field.message_type.fields_by_name["value"].cpp_type]
        elif field.message_type.full_name == "google.protobuf.Timestamp":
            value.FromJsonString("2026-01-02T03:04:05.678Z")
        else:
            fill(value.add() if field.is_repeated else value)


def complete(directory: Path) -> Manifest:
    manifest = Manifest()
    fill(manifest)
    manifest.file_hashes.clear()
    manifest.samples[0].expected_scores[:] = [float("nan"), 0.5]
    manifests.write(directory, manifest, KEYS)
    return manifest


def test_a_manifest_with_every_field_set_reads_back_equal(tmp_path: Path) -> None:
    written = complete(tmp_path)
    read = manifests.read(tmp_path)
    assert np.isnan(read.samples[0].expected_scores[0])
    del written.samples[0].expected_scores[0], read.samples[0].expected_scores[0]
    assert read == written


def test_a_manifest_is_json_with_the_names_of_the_schema(tmp_path: Path) -> None:
    complete(tmp_path)
    document = json.loads((tmp_path / "manifest.json").read_text())
    assert set(document) == {field.name for field in Manifest.DESCRIPTOR.fields}


def test_a_manifest_verifies_against_the_files_it_was_written_for(tmp_path: Path) -> None:
    written = complete(tmp_path)
    manifest, keys = manifests.verify(tmp_path)
    assert keys.tolist() == KEYS.tolist()
    assert manifest.item_count == len(KEYS)
    assert written.catalogue_hash == manifest.catalogue_hash
