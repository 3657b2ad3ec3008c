"""A version appears whole or not at all, and never changes."""

import pytest

from artifacts import layout
from artifacts.errors import ArtifactMissing


def publish(repository, source="cf"):
    with layout.publish(repository, source) as (draft, version):
        (draft / "manifest.json").write_text("{}")
    return version


def test_versions_count_up_from_one(tmp_path):
    assert [publish(tmp_path) for _ in range(3)] == [1, 2, 3]
    assert layout.versions(tmp_path, "cf") == [1, 2, 3]


def test_a_failed_training_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), layout.publish(tmp_path, "cf") as (draft, _):
        (draft / "model.onnx").write_bytes(b"half")
        raise RuntimeError
    assert list((tmp_path / "cf").iterdir()) == []


def test_a_version_without_a_manifest_is_not_published(tmp_path):
    with pytest.raises(ArtifactMissing, match=r"manifest\.json"), layout.publish(tmp_path, "cf"):
        pass
    assert layout.versions(tmp_path, "cf") == []


def test_the_newest_version_is_found_unless_one_is_named(tmp_path):
    publish(tmp_path)
    publish(tmp_path)
    assert layout.find(tmp_path, "cf").name == "2"
    assert layout.find(tmp_path, "cf", 1).name == "1"


def test_a_missing_artifact_says_what_there_is_and_what_to_do(tmp_path):
    publish(tmp_path)
    with pytest.raises(ArtifactMissing, match=r"version 9 \(found: 1\).*plait train"):
        layout.find(tmp_path, "cf", 9)
    with pytest.raises(ArtifactMissing, match="found: none"):
        layout.find(tmp_path, "text")


def test_a_published_version_can_be_read_by_another_user_than_trained_it(tmp_path):
    with layout.publish(tmp_path, "cf") as (draft, _):
        (draft / layout.MANIFEST).write_text("{}")
        (draft / "lexical").mkdir(mode=0o700)
        secret = draft / "lexical" / "meta.json"
        secret.touch(mode=0o600)
    version = tmp_path / "cf" / "1"
    assert version.stat().st_mode & 0o777 == 0o755
    assert (version / "lexical").stat().st_mode & 0o777 == 0o755
    assert (version / "lexical" / "meta.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["007", "0", "٣", "2.bak"])
def test_a_directory_that_no_version_number_leads_to_is_no_version(tmp_path, name):
    for directory in (name, "1"):
        (tmp_path / "cf" / directory).mkdir(parents=True)
        (tmp_path / "cf" / directory / layout.MANIFEST).write_text("{}")
    assert layout.versions(tmp_path, "cf") == [1]
    assert layout.find(tmp_path, "cf").is_dir()
