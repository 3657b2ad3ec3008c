"""What is printed for people stands as it is."""

import pytest

from cli.bars import bars
from cli.output import console, table


def test_brackets_in_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    made = table("[red]Row", ">[/]", title="[b]What")
    made.add_row("[red]one[/red]", "[/] 2")
    out = console()
    out.print(made)
    out.print("[/dim] done")
    shown = capsys.readouterr().out
    for text in ("[red]Row", "[/]", "[b]What", "[red]one[/red]", "[/] 2", "[/dim] done"):
        assert text in shown


def test_brackets_in_a_stage_of_the_work_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with bars() as stages:
        stages("train [/]")(1, 2, "[/red]")
    assert "train [/]: [/red]" in capsys.readouterr().err
