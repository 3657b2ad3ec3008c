"""A process of ours talks to nobody it was not told to talk to, and keeps no diary."""

import os
import subprocess
import sys
from pathlib import Path

from tests.contracts.repository import ROOT
from tests.support.artifacts import publish

RUN = "import sys, pathlib; from artifacts import loader; loader.load(pathlib.Path(sys.argv[1]))"


def test_the_inference_library_collects_nothing(tmp_path: Path) -> None:
    publish(tmp_path / "models")
    home = tmp_path / "home"
    home.mkdir()
    # Its telemetry is off under continuous integration, which would hide it.
    plain = {k: v for k, v in os.environ.items() if k in {"PATH", "PYTHONPATH", "LANG"}}
    subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "models" / "cf" / "1")],
        cwd=ROOT, env=plain | {"HOME": str(home), "TMPDIR": str(tmp_path)}, check=True,
    )  # fmt: skip
    assert [p for p in home.rglob("*") if p.is_file()] == []
