"""What is committed works on any machine and says what is there."""

import re

import pytest

from tests.contracts.repository import ROOT, run, tracked_files

# Put together here so that this file does not contain what it looks for.
ADDRESSES = re.compile("|".join(["(?<!emit-)" + "index" + "-url", "trusted" + "-host",
    "(?<!emit-)find" + "-links", "https?://[^\\s\"']+/" + "simple\\b"]))  # fmt: skip
MACHINE_PATHS = re.compile("(?<![\\w.])/(" + "work|root|home|Users" + ")/")
MEGABYTE = 1 << 20


def texts() -> list[tuple[str, str]]:
    found = []
    for path in tracked_files():
        try:
            found.append((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


TEXTS = texts()


@pytest.mark.parametrize("pattern", [ADDRESSES, MACHINE_PATHS], ids=["addresses", "paths"])
def test_no_file_names_a_registry_or_a_place_on_one_machine(pattern: re.Pattern[str]) -> None:
    hits = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in TEXTS
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert hits == []


def test_no_file_is_too_large_to_review() -> None:
    large = [str(p.relative_to(ROOT)) for p in tracked_files() if p.stat().st_size > MEGABYTE]
    assert large == []


def test_no_file_has_merge_marks_or_dos_line_ends() -> None:
    marks = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
    assert [name for name, text in TEXTS if "\r\n" in text or marks.search(text)] == []


def test_the_licence_and_the_changelog_are_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "Keep a Changelog" in changelog
    assert re.search(r"^## \[Unreleased\]", changelog, re.MULTILINE)


def test_the_continuous_integration_script_runs_the_tests_and_is_valid_bash() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
    assert run("bash", "-n", str(script)).returncode == 0
