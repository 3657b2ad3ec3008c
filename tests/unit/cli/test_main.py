"""The group: quick to start, an example with every command, no traceback for the expected."""

import errno
import os
import subprocess
import sys

import click
import pytest

from cli.failures import UserError
from cli.lazy import Command, LazyGroup
from cli.main import COMMANDS, plait
from models.data.errors import DatasetError
from tests.unit.cli.conftest import Run

HEAVY = ("torch", "polars", "onnxruntime", "scipy", "onnx", "tantivy", "numpy")


@click.command()
def breaks() -> None:
    """Fail in a way that is expected."""
    raise DatasetError("var/data: not found; import it")


@click.command()
@click.argument("number", type=int)
def stops(number: int) -> None:
    """Fail as a copy does."""
    raise OSError(number, os.strerror(number), "read", None, "written")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert "Example" in result.output
    assert f"plait {name}" in result.output


def test_the_list_of_commands_names_all_of_them(run: Run) -> None:
    output = run("--help").output
    assert all(f"  {name} " in output for name in COMMANDS)


@pytest.mark.parametrize("arguments", [["--help"], ["recommend", "--help"], ["models", "--help"]])
def test_asking_a_gateway_imports_no_training_library(arguments: list[str]) -> None:
    code = (
        "import sys; from cli.main import plait\n"
        f"try: plait({arguments!r})\nexcept SystemExit: pass\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_an_expected_failure_is_one_line(run: Run) -> None:
    group = LazyGroup(commands={"x": Command(f"{__name__}:breaks", "Break.")})
    with pytest.raises(UserError, match="not found; import it"):
        group.main(["x"], standalone_mode=False)


def test_a_missing_library_is_named_with_what_installs_it() -> None:
    group = LazyGroup(commands={"x": Command("tests.unit.cli.needs_absent:command", "Need.")})
    with pytest.raises(UserError, match=r"no_such_library.*plait\[train,cpu\]"):
        group.main(["x"], standalone_mode=False)


@pytest.mark.parametrize("absent", ["click", "rich"])
def test_without_the_command_lines_libraries_one_line_says_what_to_install(absent: str) -> None:
    code = f"import sys; sys.modules[{absent!r}] = None; from cli.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "models"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert absent in done.stderr
    assert "pip install 'plait[" in done.stderr


def test_an_unknown_command_is_refused(run: Run) -> None:
    result = run("recomend")
    assert result.exit_code == 2
    assert "recomend" in result.output


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("--version").output.startswith("plait, version ")
    assert isinstance(plait, LazyGroup)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "written: No space left on device; .* free some space"),
        (errno.EACCES, "written: Permission denied; .* choose another place"),
        (errno.ENOTDIR, "written: Not a directory; choose another place"),
        (errno.EEXIST, "written: File exists; choose another place"),
    ],
)
def test_a_failure_of_the_machine_amid_the_work_is_one_line(number: int, said: str) -> None:
    group = LazyGroup(commands={"x": Command(f"{__name__}:stops", "Stop.")})
    with pytest.raises(UserError, match=said):
        group.main(["x", str(number)], standalone_mode=False)


def test_a_file_that_only_a_mistake_looks_for_keeps_its_traceback() -> None:
    group = LazyGroup(commands={"x": Command(f"{__name__}:stops", "Stop.")})
    with pytest.raises(FileNotFoundError):
        group.main(["x", str(errno.ENOENT)], standalone_mode=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "data", "models", "--seed", str(2**64)),
        ("evaluate", "data", "--protocol", "time-split", "--seed", str(2**31)),
        ("tune", "data", "cf", "--protocol", "time-split", "--seed", str(2**32 - 1)),
        ("search", "yogurt", "--timeout", "inf"),
        ("models", "load", "cf", "--timeout", "1e300"),
        ("search", "yogurt", "--timeout", "nan"),
        ("models", "load", "cf", "--timeout", "nan"),
        ("models", "canary", "cf", "2", "--share", "nan"),
        ("tune", "data", "cf", "--protocol", "time-split", "--minutes", "nan"),
        ("evaluate", "data", "--protocol", "time-split", "--draws", "99999999999"),
        ("models", "--base-port", "70000"),
        ("models", "--metrics-base-port", "0"),
    ],
)
def test_numbers_that_would_overflow_or_are_none_are_refused_at_once(
    run: Run, arguments: tuple[str, ...]
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "is not in the range" in result.output
