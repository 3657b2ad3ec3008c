"""Where what is compiled cannot be kept, or was not kept whole, it is compiled anew."""

import json
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

@compiled(FLOATS)
def first(values):
    return values[0]

print(total(np.ones(3, np.float32)))
"""
# What a serving process does before its imports.
SERVING = "from services.runtime.early import prepare; prepare('gateway')\n"


def total(script: Path, kept: Path) -> str:
    """Compile in a process of its own, as each start does; return what it computes."""
    return run(script, kept).stdout.strip()


def run(script: Path, kept: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    script.write_text(SERVING + SCRIPT)
    os.utime(script, (0, 0))  # numba keeps things by the age of their source
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(kept), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def said(script: Path, kept: Path, **environment: str) -> list[str]:
    """What a start says in its log."""
    lines = [json.loads(line) for line in run(script, kept, **environment).stderr.splitlines()]
    assert {line["role"] for line in lines} <= {"gateway"}
    return [line["message"] for line in lines]


def test_a_start_that_compiles_says_so_once_and_the_next_has_nothing_to_say(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    assert said(script, tmp_path / "kept") == ["compiling: nothing kept by an earlier start fits"]
    assert said(script, tmp_path / "kept") == []


def test_a_start_that_can_keep_nothing_says_that_once_too(tmp_path: Path) -> None:
    # Numba would look beside the script next, and then below the user's home.
    nowhere = tmp_path / "__pycache__"
    nowhere.touch()
    elsewhere = {"HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere)}
    assert said(tmp_path / "script.py", nowhere / "kept", **elsewhere) == [
        "compiled for this process only",
        "compiling: nothing kept by an earlier start fits",
    ]


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
    for file in kept.rglob(f"*.{ending}"):
        file.write_bytes(b"")
    assert total(tmp_path / "script.py", kept) == "3.0"
