"""The copy that a lexical index is opened from goes, whoever still writes to it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from artifacts.engines import lexical


def test_a_copy_into_which_a_lock_is_written_meanwhile_goes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    (copy / lexical.LEXICAL).mkdir(parents=True)
    removed, times = shutil.rmtree, []

    def late(path: Path, **options: Any) -> None:
        """Remove all, but find a lock there in the end, twice."""
        removed(path, **options)
        times.append(path)
        if len(times) < 3:
            (copy / lexical.LEXICAL).mkdir(parents=True)
            (copy / lexical.LEXICAL / ".tantivy-meta.lock").touch()

    monkeypatch.setattr("artifacts.engines.lexical.shutil.rmtree", late)
    lexical._remove(copy)
    assert not copy.exists()
    assert len(times) == 3
