"""Everybody installs the same packages, from wherever their pip is told to look."""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.contracts.closure import closure, normalised, skipped
from tests.contracts.repository import ROOT

LINES = [
    line for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line and not line.startswith("#")
]  # fmt: skip
# The name of an installed file differs by accelerator: the Makefile pins it itself.
APART = {"torch", "onnxruntime-gpu"}


def test_every_line_pins_one_version_and_names_no_address() -> None:
    for line in LINES:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+( ; .+)?", line), line


def test_every_declared_dependency_is_pinned_to_a_version_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        declared += extra
    pins: dict[str, list[str]] = {}
    for line in LINES:
        name, _, rest = line.partition("==")
        pins.setdefault(normalised(name), []).append(rest.partition(" ; ")[0])
    for text in declared:
        wanted = Requirement(text)
        name = normalised(wanted.name)
        if name in APART | {"plait"}:
            continue
        assert name in pins, f"run: make lock ({text} is not in requirements.lock)"
        assert all(version in wanted.specifier for version in pins[name]), text


@pytest.mark.parametrize("name", ["numpy", "scipy", "scipy-stubs"])
def test_types_are_checked_against_one_version_whatever_python_there_is(name: str) -> None:
    """Another numpy has other types: `make test` would pass on one Python and fail on the next."""
    assert len([line for line in LINES if line.startswith(f"{name}==")]) == 1


def test_the_lock_is_complete() -> None:
    locked = {normalised(line.partition("==")[0]) for line in LINES}
    assert closure("cpu", "train", "multilingual", "dev") <= locked


def test_what_is_left_out_is_left_out_on_purpose() -> None:
    locked = {normalised(line.partition("==")[0]) for line in LINES}
    assert not locked & skipped()


def test_the_makefile_pins_torch_as_the_project_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (torch,) = [d for d in project["optional-dependencies"]["train"] if d.startswith("torch")]
    assert torch in (ROOT / "Makefile").read_text()
    assert torch in (ROOT / "Dockerfile").read_text()


@pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv", reason="not the environment that make sets up"
)
def test_what_is_installed_here_is_what_is_locked() -> None:
    wrong = []
    for line in LINES:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            found = "none"
        if found not in wanted.specifier:
            wrong.append(f"{line} (installed: {found})")
    assert wrong == []
