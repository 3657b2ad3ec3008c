"""Settings: defaults, then a file, then the environment; a typo stops the start."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.runtime import config
from services.runtime.config import ConfigError
from services.runtime.service import ServiceConfig


@dataclass(frozen=True)
class Settings:
    """One of each type."""

    port: int = 1
    grace: float = 2.5
    name: str = "n"
    home: Path = Path("var")
    version: int | None = None
    fast: bool = False
    hosts: tuple[str, ...] = ("a",)


def test_defaults_stand_where_nothing_is_set() -> None:
    assert config.load(Settings, "cf", {"HOME": "/x"}) == Settings()


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "plait.toml"
    path.write_text('[cf]\nport = 2\nname = "file"\nhosts = ["b", "c"]\n[text]\nport = 9\n')
    environ = {
        "PLAIT_CONFIG": str(path),
        "PLAIT_CF_PORT": "3",
        "PLAIT_CF_FAST": "yes",
        "PLAIT_CF_VERSION": "7",
        "PLAIT_CF_HOME": "/models",
        "PLAIT_TEXT_PORT": "4",
    }
    loaded = config.load(Settings, "cf", environ)
    assert loaded == Settings(
        port=3, name="file", hosts=("b", "c"), fast=True, version=7, home=Path("/models")
    )


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "plait.toml"
    path.write_text("[cf]\nport = 2\n", encoding="utf-8-sig")
    assert config.load(Settings, "cf", {"PLAIT_CONFIG": str(path)}).port == 2


def test_the_file_is_utf_8_wherever_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plait.toml"
    path.write_text('[cf]\nrepository = "Käse"\n', encoding="utf-8")
    read = (
        "from services.runtime.config import load\n"
        "from services.runtime.service import ServiceConfig\n"
        f"found = load(ServiceConfig, 'cf', {{'PLAIT_CONFIG': {str(path)!r}}})\n"
        "print(ascii(str(found.repository)))"
    )
    narrow = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {**os.environ, **narrow}
    done = subprocess.run(
        [sys.executable, "-c", read], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("'K\\xe4se'\n", "")


def test_an_empty_variable_clears_an_optional_setting() -> None:
    assert config.load(Settings, "cf", {"PLAIT_CF_VERSION": ""}).version is None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PLAIT_CF_PROT", "1", "PLAIT_CF_PROT: cf has no setting 'prot'"),
        ("PLAIT_CG_PORT", "1", "PLAIT_CG_PORT: names no process"),
        ("PLAIT_CF_PORT", "x", "PLAIT_CF_PORT: wants int, got 'x'"),
        ("PLAIT_CF_FAST", "maybe", "PLAIT_CF_FAST: wants true or false, got 'maybe'"),
        ("PLAIT_CF_GRACE", "inf", "PLAIT_CF_GRACE: wants a finite number, got 'inf'"),
        ("PLAIT_CF_GRACE", "nan", "PLAIT_CF_GRACE: wants a finite number, got 'nan'"),
        ("PLAIT_CONFIG", "/nowhere/plait.toml", "/nowhere/plait.toml: cannot be read"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.load(Settings, "cf", {variable: value})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cf]\nprot = 1", r"\[cf\] has no setting 'prot'"),
        ("[cf]\nport = 'x'", r"\[cf\] port: wants int"),
        ("[cf]\nport = inf", r"\[cf\] port: wants int, got inf"),
        ("[cf]\ngrace = -inf", r"\[cf\] grace: wants a finite number"),
        ("[cf]\nport = [1]", "does not fit"),
        ("[cf]\nport = 50051.9", r"\[cf\] port: wants int, got 50051.9"),
        ("[cf]\nversion = 1.5", r"\[cf\] version: wants int, got 1.5"),
        ("cf = 1", r"\[cf\] must be a table"),
        ("[cg]\nport = 1", "'cg' names no process"),
        ("port = 1\n[cf]", "'port' names no process"),
        ("[cf", "not TOML"),
    ],
)
def test_a_wrong_file_is_named_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "plait.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        config.load(Settings, "cf", {"PLAIT_CONFIG": str(path)})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("PORT", "70000"),
        ("GRACE_SECONDS", "-1"),
        ("LOG_LEVEL", "loud"),
        ("VERSION", "0"),
        ("MAX_BATCH_ROWS", "0"),
        ("MAX_QUEUE", "0"),
    ],
)
def test_a_service_refuses_values_that_cannot_work(field: str, value: str) -> None:
    with pytest.raises(ConfigError, match=field.lower()):
        config.load(ServiceConfig, "cf", {f"PLAIT_CF_{field}": value})
