"""Output that cannot be written is told before the work, in one line."""

import os
import stat
import threading
from pathlib import Path

import pytest

from cli.failures import UserError
from cli.writable import check_directory, check_file, write_text
from tests.support.disks import short_files
from tests.unit.cli.conftest import Run
from tests.unit.evaluate.shop import write_shop

# Nobody writes there, not even root.
NOWHERE = "/proc/nowhere"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "data"
    write_shop(path)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "SHOP", "--protocol", "time-split", "--json", NOWHERE),
        ("evaluate", "SHOP", "--protocol", "time-split", "--html", "FILE/report.html"),
        ("evaluate", "SHOP", "--protocol", "time-split", "--work", f"{NOWHERE}/work"),
        ("tune", "SHOP", "cf", "--protocol", "time-split", "--study", f"{NOWHERE}/journal"),
        ("tune", "SHOP", "cf", "--protocol", "time-split", "--json", "FILE/found.json"),
        ("train", "SHOP", NOWHERE),
        ("import", "csv", "SHOP", "FILE/data"),
        ("seed", "SHOP", "--state", f"{NOWHERE}/state.sqlite"),
        ("seed", "SHOP", "--state", "FILE/state.sqlite"),
    ],
    ids=lambda arguments: " ".join((arguments[0], *arguments[-2:])).replace("/", "_"),
)
def test_output_that_cannot_be_written_is_told_before_the_work(
    run: Run, shop: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    given = [a.replace("SHOP", str(shop)).replace("FILE", str(file)) for a in arguments]
    result = run(*given)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "cannot be written" in result.output
    assert "choose another place" in result.output
    assert file.read_text() == "mine"


def test_trying_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("older")
    check_file(file)
    check_file(tmp_path / "new" / "report.json")
    check_directory(tmp_path / "new" / "work")
    check_file(Path("-"))
    check_file(None)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert file.read_text() == "older"


def test_a_pipe_is_left_to_its_reader(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    tried = threading.Thread(target=check_file, args=(pipe,), daemon=True)
    tried.start()
    tried.join(timeout=5)
    assert not tried.is_alive()
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_what_fails_in_the_end_is_one_line_too() -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_text(Path(NOWHERE), "text")


def test_no_half_of_a_report_is_left_where_all_of_it_does_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    with pytest.raises(UserError, match=r"report\.json: cannot be written"), short_files(4_096):
        write_text(file, "1" * 10_000)
    assert not list(tmp_path.iterdir())
    file.write_text("older")
    with pytest.raises(UserError, match=r"report\.json: cannot be written"), short_files(4_096):
        write_text(file, "1" * 10_000)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert file.read_text() == "older"
    device = Path("/dev/full")
    with pytest.raises(UserError, match=r"No space left on device.*make room there, or choose"):
        write_text(device, "text")
    assert device.exists()


def test_a_report_that_is_a_link_is_written_where_it_leads(tmp_path: Path) -> None:
    link, file = tmp_path / "link.json", tmp_path / "reports" / "report.json"
    link.symlink_to(file)
    write_text(link, "first")
    write_text(link, "second")
    assert link.is_symlink()
    assert file.read_text() == "second"
