"""Where what is compiled cannot be kept, or was not kept whole, it is compiled anew."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.disks import small_disk

SCRIPT = """
import numpy as np
from artifacts.compiled import FLOATS, compiled

@compiled(FLOATS)
def total(values):
    found = 0.0
    for value in values:
        found += value
    return found

print(total(np.ones(3, np.float32)))
"""


def total(script: Path, kept: Path) -> str:
    """Compile in a process of its own, as each start does; return what it computes."""
    script.write_text(SCRIPT)
    os.utime(script, (0, 0))  # numba keeps things by the age of their source
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(kept)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        if disk is None:
            pytest.skip("mounting a small file system takes root")
        (disk.root / "kept").mkdir()
        disk.fill()
        assert total(tmp_path / "script.py", disk.root / "kept") == "3.0"


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_from_a_file_that_a_power_cut_left_empty(tmp_path: Path, ending: str) -> None:
    kept = tmp_path / "kept"
    assert total(tmp_path / "script.py", kept) == "3.0"
    (file,) = kept.rglob(f"*.{ending}")
    file.write_bytes(b"")
    assert total(tmp_path / "script.py", kept) == "3.0"
