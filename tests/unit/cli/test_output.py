"""What is printed for people stands as it is."""

import pytest

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
