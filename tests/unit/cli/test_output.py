"""What is printed for people stands as it is."""

import sys

import pytest
from rich.text import Text

from cli.bars import bars
from cli.output import console, counted, table


def test_brackets_in_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    made = table("[red]Row", ">[/]", title="[b]What")
    made.add_row("[red]one[/red]", "[/] 2")
    out = console()
    out.print(made)
    out.print("[/dim] done")
    shown = capsys.readouterr().out
    for text in ("[red]Row", "[/]", "[b]What", "[red]one[/red]", "[/] 2", "[/dim] done"):
        assert text in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_columns_stay_in_their_places_beside_texts_that_run_to_the_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    made = table("Product", "Category", ">Price")
    made.add_row("قهوة عربية", Text("קפה", style="bold"), "3.00")
    made.add_row("Tea", None, "12.00")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    console().print(made)
    shown = capsys.readouterr().out
    assert shown.count("\u200e") == (2 if terminal else 0)
    kept = shown.replace("\u200e", "").splitlines()
    assert len({len(line.rstrip()) for line in kept if "00" in line}) == 1


def test_brackets_in_a_stage_of_the_work_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with bars() as stages:
        stages("train [/]")(1, 2, "[/red]")
    assert "train [/]: [/red]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "what", "said"),
    [
        (1, "user", "1 user"),
        (0, "user", "0 users"),
        (1, "query", "1 query"),
        (1200, "query", "1,200 queries"),
        (2, "day", "2 days"),
    ],
)
def test_a_count_and_its_word_agree(count: int, what: str, said: str) -> None:
    assert counted(count, what) == said
