"""What benchmarks are told is checked before the work, and nothing outlives them."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from artifacts.errors import ArtifactMissing
from benchmarks import compare, gateway_parts
from benchmarks.command import above_0, child, counts, ended, from_0, from_1, write
from cli.failures import UserError
from tests.support.disks import short_files

HOURS = "import time; time.sleep(3600)"


def test_what_a_person_can_mend_is_one_line_and_the_hint_belongs_to_missing_data(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unlike(error: BaseException) -> int:
        def work() -> None:
            raise error

        return ended(work, "Train first")

    assert unlike(UserError("No such load")) == 1
    assert capsys.readouterr().err == "No such load\n"
    assert unlike(ArtifactMissing("no cf")) == 1
    assert capsys.readouterr().err == "no cf\nTrain first\n"
    assert unlike(KeyboardInterrupt()) == 130
    assert ended(lambda: None) == 0
    assert ended(lambda: 3) == 3


def test_what_is_started_has_none_of_the_callers_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLAIT_GATEWAY_CANDIDATES", "7")
    asked = [sys.executable, "-c", "import os; print('PLAIT_GATEWAY_CANDIDATES' in os.environ)"]
    said = []
    assert ended(lambda: said.append(subprocess.check_output(asked, text=True))) == 0
    assert said == ["False\n"]
    assert "not heeded here: PLAIT_GATEWAY_CANDIDATES" in capsys.readouterr().err
    assert os.environ["PLAIT_GATEWAY_CANDIDATES"] == "7"


def test_a_system_that_there_is_not_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", "--only", "plain,plane"])
    monkeypatch.setattr(compare, "repository", lambda _: pytest.fail("models were made"))
    assert compare.main() == 1
    assert "--only: no system ['plane']" in capsys.readouterr().err


def test_numbers_are_read_as_they_may_be_written_and_others_refused() -> None:
    assert [from_0("0.0"), from_0(" 0"), from_1("1"), above_0("0.5")] == [0.0, 0.0, 1.0, 0.5]
    wrong: list[tuple[Callable[[str], float], str]] = [
        (from_0, "-1"), (from_0, "nan"), (from_1, "0.9"), (above_0, "0.0"), (above_0, "inf"),
        (above_0, "x"),
    ]  # fmt: skip
    for read, text in wrong:
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is no number"):
            read(text)


def test_an_ordinary_kill_leaves_neither_processes_nor_folders(tmp_path: Path) -> None:
    words = ["--directory", tmp_path, "--stored", 200, "--rates", "20x1", "--sync-ms", 100,
             "--rounds", 1, "--seconds", 600]  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.events", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as benchmark:
        until = time.monotonic() + 60
        while not any('"serving"' in log.read_text() for log in tmp_path.glob("*/gateway.log")):
            assert benchmark.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        benchmark.terminate()
        assert benchmark.wait(30) == 143
    assert list(tmp_path.iterdir()) == []


def test_a_command_beside_a_block_that_is_left_early_is_not_waited_for() -> None:
    """Training a million items takes an hour."""
    with pytest.raises(SystemExit), child([sys.executable, "-c", HOURS]) as process:
        sys.exit(143)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("events", "--rates 50"),
        ("events", "--rates 0x1"),
        ("events", "--rates 50x-1"),
        ("events", "--sync-ms soon"),
        ("events", "--rounds 0"),
        ("events", "--seconds -1"),
        ("events", "--stored -1"),
        ("balancing", "--load -1"),
        ("catalogue", "--sizes many"),
        ("catalogue", "--not-asked text"),
        ("compare", "--callers 1,x"),
        ("indexes", "--sizes 0"),
        ("large_data", "shop --items 0"),
        ("limits", "--times nan"),
        ("online", "data --ill nobody"),
        ("online", "data --preset qick"),
        ("overload", "--set LOAD_SHARE"),
        ("position_bias", "data models --pages 0"),
        ("rankers", "data --preset qick"),
        ("serving", "--callers 0"),
        ("shortlists", "data --preset qick"),
        ("turns", "now --rounds 0"),
    ],
)
def test_an_argument_that_means_nothing_is_refused_by_name(
    module: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [module, *words.split()])
    with pytest.raises(SystemExit, match="2"):
        import_module(f"benchmarks.{module}").main()
    option = next(word for word in words.split() if word.startswith("--"))
    assert f"error: argument {option}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "module",
    ["balancing", "catalogue", "chaos.__main__", "compare", "events", "indexes", "serving"],
)
def test_a_result_that_cannot_be_written_is_told_before_the_work(
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", [module, "--json", str(tmp_path / "file" / "result.json")])
    with pytest.raises(SystemExit, match="2"):
        import_module(f"benchmarks.{module}").main()
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("catalogue", "--directory PLACE"), ("events", "--directory PLACE"),
        ("large_data", "PLACE"), ("online", "data --svg PLACE"), ("online", "data --work PLACE"),
        ("rankers", "data --work PLACE"), ("shortlists", "data --work PLACE"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_made_is_told_before_the_work(
    module: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    given = words.replace("PLACE", str(tmp_path / "file" / "folder")).split()
    monkeypatch.setattr("sys.argv", [module, *given])
    with pytest.raises(SystemExit, match="2"):
        import_module(f"benchmarks.{module}").main()
    assert "cannot be written" in capsys.readouterr().err


def test_a_disk_that_gets_full_is_one_line_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with short_files(4_096):
        assert ended(lambda: write(tmp_path / "result.json", {"a": "1" * 10_000})) == 1
        assert ended(lambda: (tmp_path / "x").symlink_to("x" * 5_000)) == 1
    for said in capsys.readouterr().err.splitlines():
        assert str(tmp_path) in said
        assert "choose another place" in said
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        ended((tmp_path / "x").unlink)


@pytest.mark.parametrize("module", ["online", "position_bias", "rankers", "shortlists"])
def test_data_that_are_not_there_are_one_line(
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = [str(tmp_path / name) for name in ("data", "models")]
    monkeypatch.setattr("sys.argv", [module, *places[: 2 if module == "position_bias" else 1]])
    assert import_module(f"benchmarks.{module}").main() == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert "dataset.json: not found" in said


def test_a_fault_that_there_is_not_has_nothing_to_do_with_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["chaos", "--only", "rain", "--root", str(tmp_path)])
    assert import_module("benchmarks.chaos.__main__").main() == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("No fault named rain; there are ")


def test_a_store_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_parts, "_DEMO_STATE", tmp_path / "state.sqlite")
    with pytest.raises(UserError, match="no store of the demo"):
        gateway_parts.of_the_demo(tmp_path / "work")
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_above_0_and_a_result_gets_its_folder(tmp_path: Path) -> None:
    assert counts("1,16,64") == [1, 16, 64]
    write(None, {})
    write(tmp_path / "new" / "result.json", {"a": 1})
    assert (tmp_path / "new" / "result.json").read_text() == '{\n  "a": 1\n}\n'
