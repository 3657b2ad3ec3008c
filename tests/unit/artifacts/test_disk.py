"""A full disk is told with its place, and leaves nothing half-written."""

import errno
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest

from artifacts import layout
from artifacts.disk import naming, temporary, whole
from artifacts.engines.lexical import LexicalIndex, build_lexical
from artifacts.errors import ArtifactCorrupt, NoRoom
from models.evaluate.work import Work
from tests.support.disks import short_files

LARGE = np.zeros(10_000)


def test_a_file_that_does_not_fit_is_named_and_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    path.write_text("older")
    refused = pytest.raises(OSError, match=f"{str(path)!r}$")
    with refused, short_files(4_096), whole(path) as draft:
        draft.write_bytes(LARGE.tobytes())
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_numpys_word_for_a_full_disk_is_one(tmp_path: Path) -> None:
    refused = pytest.raises(OSError, match="No space left")
    with refused as caught, short_files(4_096), naming(tmp_path):
        np.save(tmp_path / "item_keys.npy", LARGE)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))


def test_an_error_that_names_a_file_or_is_another_stays_as_it_is(tmp_path: Path) -> None:
    for error in (OSError(errno.ENOSPC, "full", "nearer"), OSError(errno.EIO, "worn out")):
        with pytest.raises(OSError, match=error.strerror) as caught, naming(tmp_path):
            raise error
        assert caught.value is error
    with pytest.raises(io.UnsupportedOperation), naming(tmp_path):
        raise io.UnsupportedOperation("not written")


def test_a_full_folder_for_temporary_files_is_told_from_what_is_made_with_it(
    tmp_path: Path,
) -> None:
    refused = pytest.raises(OSError, match="plait-")
    with refused as caught, short_files(4_096), naming(tmp_path), temporary() as scratch:
        (scratch / "graph").write_bytes(LARGE.tobytes())
    assert caught.value.filename.startswith(tempfile.gettempdir())


def test_a_version_that_does_not_fit_is_none_and_says_where(tmp_path: Path) -> None:
    with layout.publish(tmp_path, "cf") as (draft, _):
        (draft / "manifest.json").write_text("{}")
    refused = pytest.raises(OSError, match=f"{tmp_path / 'cf'}'$")
    with refused, short_files(4_096), layout.publish(tmp_path, "cf") as (draft, _):
        (draft / "manifest.json").write_text("{}")
        (draft / "model.onnx").write_bytes(LARGE.tobytes())
    assert layout.versions(tmp_path, "cf") == [1]
    assert [path.name for path in (tmp_path / "cf").iterdir()] == ["1"]


def test_an_index_of_words_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    documents = [{"title": f"word{n} " * 20} for n in range(1_000)]
    refused = pytest.raises(NoRoom, match="lexical: the index of words cannot be written")
    with refused, short_files(64):
        build_lexical(tmp_path / "lexical", documents)


def test_an_index_of_words_that_finds_no_room_to_be_read_is_not_called_damaged(
    tmp_path: Path,
) -> None:
    build_lexical(tmp_path / "lexical", [{"title": "bread"}])
    refused = pytest.raises(NoRoom, match=f"copied to {tempfile.gettempdir()}, .* TMPDIR")
    with refused as caught, short_files(64):
        LexicalIndex(tmp_path / "lexical")
    assert not isinstance(caught.value, ArtifactCorrupt)


def test_a_part_that_does_not_fit_says_where_and_leaves_its_place_clean(tmp_path: Path) -> None:
    work = Work(tmp_path)
    with pytest.raises(OSError, match=r"x-\w+/arrays.npz'$"), short_files(4_096):
        work.arrays("x", {}, lambda: {"n": LARGE})
    with pytest.raises(OSError, match=r"y-\w+'$"), short_files(4_096), work.held("y", {}) as home:
        (home / "seconds").write_bytes(LARGE.tobytes())
    assert sorted(path.name for path in tmp_path.glob("x-*/*")) == ["key.json"]
