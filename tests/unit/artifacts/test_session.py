"""ONNX Runtime is opened with what is installed for it."""

import sys

import onnxruntime as ort
import pytest

from artifacts import session


@pytest.mark.parametrize("gpu", [True, False])
def test_the_gpu_build_finds_the_cuda_libraries_that_pip_installed(
    gpu: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loader looks elsewhere: every model would run on the CPU of a machine with a GPU."""
    asked: list[str | None] = []

    def preload(directory: str | None = None) -> None:
        asked.append(directory)
        sys.stdout.write("Failed to load libcublasLt.so.13\n")

    there = ["CUDAExecutionProvider"] * gpu + ["CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: there)
    monkeypatch.setattr(ort, "preload_dlls", preload)
    session._load_cuda.cache_clear()
    try:
        for _ in range(2):
            session._load_cuda()
    finally:
        session._load_cuda.cache_clear()
    assert asked == [""] * gpu
    assert capsys.readouterr().out == ""
