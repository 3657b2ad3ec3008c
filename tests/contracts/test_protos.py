"""The API is clean, and the code beside the .proto files is what they generate."""

import sys
from pathlib import Path

from tests.contracts.repository import ROOT, run, tool

PROTOS = sorted((ROOT / "protos").rglob("*.proto"))


def test_the_protos_pass_the_standard_lint() -> None:
    result = run(tool("buf"), "lint")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_generated_code_is_fresh(tmp_path: Path) -> None:
    result = run(
        sys.executable, "-m", "grpc_tools.protoc", "-Iprotos",
        f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}",
        f"--plugin=protoc-gen-mypy={tool('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={tool('protoc-gen-mypy_grpc')}",
        f"--mypy_out={tmp_path}", f"--mypy_grpc_out={tmp_path}",
        *(str(p.relative_to(ROOT)) for p in PROTOS),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    fresh = {p.relative_to(tmp_path): p.read_text() for p in tmp_path.rglob("*_pb2*.py*")}
    committed = {
        p.relative_to(ROOT / "protos"): p.read_text() for p in (ROOT / "protos").rglob("*_pb2*.py*")
        if "__pycache__" not in p.parts
    }  # fmt: skip
    assert set(fresh) == set(committed), "run: make proto"
    assert [str(p) for p in fresh if fresh[p] != committed[p]] == [], "run: make proto"
    assert len(fresh) == 4 * len(PROTOS)
