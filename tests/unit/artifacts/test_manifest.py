"""An artifact whose files are not those of its manifest is refused by name."""

import json

import numpy as np
import pytest

from artifacts import manifest as manifests
from artifacts.errors import ArtifactCorrupt, ArtifactMissing, CatalogueMismatch
from plait.v1.manifest_pb2 import Manifest


@pytest.fixture
def artifact(tmp_path):
    (tmp_path / "lexical").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "lexical" / "index").write_bytes(b"words")
    manifest = Manifest(
        source="cf",
        version=1,
        seed=7,
        metrics={"recall@10": 0.125, "loss": float("nan")},
        engine_parameters={"max_history": 200.0},
        training_config={"note": '"Grüße"'},
    )
    manifests.write(tmp_path, manifest, np.array([5, 9], np.int64))
    return tmp_path


def test_a_whole_artifact_verifies(artifact):
    manifest, keys = manifests.verify(artifact)
    assert manifest.item_count == 2
    assert keys.tolist() == [5, 9]
    assert set(manifest.file_hashes) == {"model.onnx", "lexical/index", "item_keys.npy"}


def test_a_changed_file_is_named(artifact):
    (artifact / "lexical" / "index").write_bytes(b"other")
    with pytest.raises(ArtifactCorrupt, match="lexical/index"):
        manifests.verify(artifact)


def test_a_missing_file_is_named(artifact):
    (artifact / "model.onnx").unlink()
    with pytest.raises(ArtifactCorrupt, match=r"model\.onnx.*missing"):
        manifests.verify(artifact)


def test_other_item_keys_are_a_catalogue_mismatch(artifact):
    np.save(artifact / "item_keys.npy", np.array([5, 10], np.int64))
    with pytest.raises(CatalogueMismatch, match=r"item_keys\.npy"):
        manifests.verify(artifact)


def test_item_keys_that_are_empty_are_named(artifact):
    (artifact / "item_keys.npy").write_bytes(b"")
    with pytest.raises(ArtifactCorrupt, match=r"item_keys\.npy"):
        manifests.verify(artifact)


def test_the_same_item_keys_in_another_order_are_another_file(artifact):
    np.save(artifact / "item_keys.npy", np.array([9, 5], np.int64))
    with pytest.raises(ArtifactCorrupt, match=r"item_keys\.npy.*SHA-256"):
        manifests.verify(artifact)


def test_item_keys_with_a_damaged_header_are_named(artifact):
    path = artifact / "item_keys.npy"
    path.write_bytes(path.read_bytes().replace(b"}", b" ", 1))  # numpy raises a TokenError
    with pytest.raises(ArtifactCorrupt, match=r"item_keys\.npy"):
        manifests.verify(artifact)


@pytest.mark.parametrize("text", ["", "{", '{"no_such_field": 1}', "\x00"])
def test_a_manifest_that_is_none_is_named(artifact, text):
    (artifact / "manifest.json").write_text(text)
    with pytest.raises(ArtifactCorrupt, match=r"manifest\.json"):
        manifests.verify(artifact)


def test_a_manifest_of_another_release_is_refused(artifact):
    (artifact / "manifest.json").write_text('{"schema_version": 99}')
    with pytest.raises(ArtifactCorrupt, match="schema version 99"):
        manifests.verify(artifact)


def damaged(text: str, member: str) -> str:
    """Return the manifest with the first digit of one of its members changed."""
    before, name, after = text.partition(f'"{member}": ')
    at = next(i for i, c in enumerate(after) if c in "012345678")
    return f"{before}{name}{after[:at]}{int(after[at]) + 1}{after[at + 1 :]}"


@pytest.mark.parametrize("member", ["recall@10", "max_history", "seed", "version", "checksum"])
def test_a_manifest_with_another_digit_is_refused(artifact, member):
    text = (artifact / "manifest.json").read_text()
    (artifact / "manifest.json").write_text(damaged(text, member))
    for use in (manifests.read, manifests.verify):
        with pytest.raises(ArtifactCorrupt, match=r"manifest\.json: not as it was written"):
            use(artifact)


def test_a_manifest_may_be_laid_out_anew(artifact):
    document = json.loads((artifact / "manifest.json").read_text())
    turned = dict(reversed(document.items()))
    (artifact / "manifest.json").write_text(json.dumps(turned, ensure_ascii=False))
    assert manifests.verify(artifact)[0].metrics["recall@10"] == 0.125


def test_a_manifest_of_a_release_that_kept_no_checksum_is_read(artifact):
    document = json.loads((artifact / "manifest.json").read_text())
    del document["checksum"]
    (artifact / "manifest.json").write_text(json.dumps(document))
    assert manifests.verify(artifact)[0].source == "cf"


def test_no_manifest_at_all_is_missing(tmp_path):
    with pytest.raises(ArtifactMissing, match=r"manifest\.json"):
        manifests.read(tmp_path)
