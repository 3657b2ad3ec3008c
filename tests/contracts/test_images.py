"""The images hold what their process needs, and not the tools that train."""

import re
import sys
import tomllib
from pathlib import PurePath

import pytest

from services.runtime import config as configuration
from tests.contracts import dockerfile
from tests.contracts.closure import closure, needed_by, normalised
from tests.contracts.dockerfile import (
    SERVING,
    ancestry,
    entry_point,
    environment_of,
    packages_of,
    settings,
)
from tests.contracts.repository import ROOT, run
from tests.contracts.roles import ROLES

# What each environment of the Dockerfile stands for.
WANTED = {
    "gateway-env": closure(),
    "source-env": closure("cpu"),
    "encoder-env": closure("cpu") | {"tokenizers"},
    "text-env": closure("cpu", "text"),
    "train-env": closure("cpu", "train", "multilingual"),
}
# What trains, imports data or prints tables; none of it may be in a serving image.
TRAINING = {"torch", "polars", "click", "onnx", "scipy", "rich", "safetensors"}


def locked() -> dict[str, str]:
    """Package to version, as requirements.lock pins it for this platform or another."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [re.split(r"==| ; ", line) for line in lines if line and not line.startswith("#")]
    return {normalised(pin[0]): pin[1].strip() for pin in pins}


def test_there_is_a_target_for_every_role() -> None:
    assert set(dockerfile.stages()) >= set(dockerfile.ROLES)


@pytest.mark.parametrize("role", dockerfile.ROLES)
def test_an_image_runs_as_a_numeric_user_that_is_not_root(role: str) -> None:
    users = [user for stage in ancestry(role) for user in stage.values("USER")]
    assert users
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)


@pytest.mark.parametrize("role", dockerfile.ROLES)
def test_an_image_needs_no_shell_to_run(role: str) -> None:
    instructions = [i for stage in ancestry(role) for i in stage.instructions]
    assert not [i for i in instructions if i.name in {"RUN", "SHELL", "HEALTHCHECK"}]
    assert entry_point(role)[0] == "/opt/plait/bin/python"
    assert all(i.value.startswith("[") for i in instructions if i.name == "CMD")


@pytest.mark.parametrize("role", SERVING)
def test_an_image_starts_its_process_and_names_its_ports(role: str) -> None:
    assert entry_point(role)[1:] == ["-m", ROLES[role].module]
    (exposed,) = dockerfile.stages()[role].values("EXPOSE")
    assert tuple(map(int, exposed.split())) == ROLES[role].ports


@pytest.mark.parametrize("role", SERVING)
def test_an_image_sets_only_what_its_process_knows(role: str) -> None:
    config = configuration.load(ROLES[role].config_class, role, settings(role))
    assert config.host == "0.0.0.0"
    assert str(config.repository) == "/models"


@pytest.mark.parametrize("environment", WANTED)
def test_an_environment_holds_exactly_what_its_extras_need(environment: str) -> None:
    listed = packages_of(environment)
    assert listed == WANTED[environment]
    assert listed <= set(locked())


@pytest.mark.parametrize("role", SERVING)
def test_no_serving_image_holds_what_trains(role: str) -> None:
    assert not packages_of(environment_of(role)) & TRAINING


@pytest.mark.parametrize("role", SERVING)
def test_a_process_needs_nothing_that_its_image_lacks(role: str) -> None:
    modules = [ROLES[role].module, "artifacts.manifest"]
    if role != "gateway":
        modules += ["services.runtime", "artifacts.loader", "artifacts.engines.graph"]
    if role == "text":
        modules += ["artifacts.engines.text"]
    packages = ",".join(sorted(packages_of(environment_of(role))))
    result = run(sys.executable, "-m", "tests.contracts.only_imports", packages, *modules)
    assert result.returncode == 0, result.stderr[-2000:]


def test_training_needs_nothing_that_its_image_lacks() -> None:
    # torch comes beside the lock, with what it needs.
    packages = packages_of("train-env") | needed_by("torch")
    result = run(
        sys.executable, "-m", "tests.contracts.only_imports", ",".join(packages), "cli", "models"
    )
    assert result.returncode == 0, result.stderr[-2000:]


def test_a_missing_package_would_be_noticed() -> None:
    result = run(sys.executable, "-m", "tests.contracts.only_imports", "grpcio", "services.runtime")
    assert "is not in this image" in result.stderr


def test_the_builder_gets_every_file_that_is_copied_and_no_other() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copies = [c.split()[:-1] for s in dockerfile.stages().values() for c in s.values("COPY")]
    copied = {o for origins in copies if not origins[0].startswith("--from") for o in origins}
    assert "*" in lines
    assert sent == copied
    assert all((ROOT / PurePath(origin)).exists() for origin in copied)


def test_every_package_of_the_wheel_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    packages = {path.partition("/")[0] for path in listed}
    copies = {v.split()[0] for v in dockerfile.stages()["code"].values("COPY")}
    assert packages <= copies
