"""A version appears whole or not at all, and never changes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artifacts import layout
from artifacts.errors import ArtifactCorrupt, ArtifactError, ArtifactMissing
from artifacts.manifest import read
from tests.support.locked import passable, shut


def publish(repository, source="cf"):
    with layout.publish(repository, source) as (draft, version):
        (draft / "manifest.json").write_text("{}")
    return version


def test_versions_count_up_from_one(tmp_path):
    assert [publish(tmp_path) for _ in range(3)] == [1, 2, 3]
    assert layout.versions(tmp_path, "cf") == [1, 2, 3]


def test_two_that_publish_at_once_get_numbers_of_their_own(tmp_path):
    publish(tmp_path)
    with layout.publish(tmp_path, "cf") as (slow, second):
        with layout.publish(tmp_path, "cf") as (quick, third):
            (quick / "manifest.json").write_text('{"version": 3}')
        assert (second, third) == (2, 3)
        assert publish(tmp_path) == 4
        (slow / "manifest.json").write_text('{"version": 2}')
    assert layout.versions(tmp_path, "cf") == [1, 2, 3, 4]
    for version in (2, 3):
        said = (tmp_path / "cf" / str(version) / "manifest.json").read_text()
        assert json.loads(said) == {"version": version}


def test_a_number_whose_directory_is_there_without_a_manifest_is_left_alone(tmp_path):
    (tmp_path / "cf" / "1").mkdir(parents=True)
    (tmp_path / "cf" / "1" / "model.onnx").write_bytes(b"being copied")
    assert publish(tmp_path) == 2
    assert sorted(p.name for p in (tmp_path / "cf").iterdir()) == ["1", "2"]


def test_a_failed_training_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), layout.publish(tmp_path, "cf") as (draft, _):
        (draft / "model.onnx").write_bytes(b"half")
        raise RuntimeError
    assert list((tmp_path / "cf").iterdir()) == []


def test_what_a_killed_training_left_goes_with_the_next_one(tmp_path):
    killed = (
        "import os, signal, sys, pathlib\n"
        "from artifacts import layout\n"
        "with layout.publish(pathlib.Path(sys.argv[1]), 'cf') as (draft, version):\n"
        "    (draft / 'sub').mkdir(); (draft / 'sub' / 'weights.npy').write_bytes(bytes(999))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    left = tmp_path / "cf" / ".draft-1"
    assert (done.returncode, left.is_dir()) == (-9, True)
    with layout.publish(tmp_path, "cf") as (draft, version):
        assert version == 2  # it may be a moment old and somebody's
        (draft / layout.MANIFEST).write_text("{}")
    assert left.is_dir()
    _touched(left, time.time() - 7200)
    with layout.publish(tmp_path, "cf") as (draft, _):
        assert not left.exists()
        (draft / layout.MANIFEST).write_text("{}")


def test_what_a_killed_training_needed_on_the_way_goes_with_the_next_one(tmp_path):
    left = tmp_path / ".earlier-abc"
    (left / "cf").mkdir(parents=True)
    _touched(left, time.time() - 7200)
    with layout.scratch(tmp_path, "earlier") as mine:
        assert not left.exists()
        _touched(mine, time.time() - 7200)
        with layout.scratch(tmp_path, "earlier"):
            assert mine.is_dir()
    assert not mine.exists()


def test_a_draft_that_is_being_written_stays_however_long_it_takes(tmp_path):
    with layout.publish(tmp_path, "cf") as (slow, _):
        (slow / layout.MANIFEST).write_text("{}")
        _touched(slow, time.time() - 7200)
        with layout.publish(tmp_path, "cf") as (draft, _):
            (draft / layout.MANIFEST).write_text("{}")
        assert slow.is_dir()
    assert layout.versions(tmp_path, "cf") == [1, 2]


def _touched(directory, when):
    for path in (directory, *directory.rglob("*")):
        os.utime(path, (when, when))


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


def test_a_version_that_this_user_may_not_read_is_refused_by_name_and_hides_no_other(tmp_path):
    passable(tmp_path)
    publish(tmp_path)
    publish(tmp_path)
    with shut(tmp_path / "cf" / "2"):
        assert layout.versions(tmp_path, "cf") == [1, 2]
        with pytest.raises(ArtifactCorrupt, match=r"2/manifest\.json: cannot be read .*this user"):
            read(layout.find(tmp_path, "cf"))
    with (
        shut(tmp_path / "cf"),
        pytest.raises(ArtifactError, match=r"cf: cannot be read .*this user"),
    ):
        layout.find(tmp_path, "cf")


def test_every_file_is_on_the_disk_before_the_version_has_its_name(tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def noted(handle):
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    with layout.publish(tmp_path, "cf") as (draft, _):
        (draft / "lexical").mkdir()
        files = [draft / "lexical" / "meta.json", draft / layout.MANIFEST]
        for path in files:
            path.write_text("{}")
    assert {*files, draft, draft / "lexical"} == set(synced[:-1])
    assert synced[-1] == tmp_path / "cf"
