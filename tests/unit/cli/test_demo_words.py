"""What the demo says about two answers, and that it does not pretend."""

import pytest
from rich.console import Console

from cli.demo.walk import DemoFailed, changed, changes, require
from plait.v1 import types_pb2 as t


def page(*item_ids: str) -> list[t.RankedItem]:
    return [
        t.RankedItem(item_id=i, position=n, item=t.Item(title=f"Product {i}"))
        for n, i in enumerate(item_ids, 1)
    ]


def test_each_item_says_whether_it_is_new_moved_or_gone() -> None:
    out = Console(width=100, force_terminal=False)
    with out.capture() as said:
        out.print(changes(page("a", "b", "c"), page("c", "a", "d")))
    lines = [line.split() for line in said.get().splitlines() if "Product" in line][1:]
    words = {line[2]: " ".join(line[4:]) for line in lines if line[0] != "-"}
    assert words == {"c": "3 up 2", "a": "1 down 1", "d": "- new"}
    assert any("gone" in line for line in lines)


def test_places_are_counted_as_changed_only_where_they_did() -> None:
    assert changed(page("a", "b"), page("a", "b")) == 0
    assert changed(page("a", "b"), page("b", "a")) == 2
    assert changed(page("a", "b"), page("a", "z")) == 1


def test_a_claim_that_does_not_hold_ends_the_demo() -> None:
    require(condition=True, message="nothing")
    with pytest.raises(DemoFailed, match="shows a defect: nothing changed"):
        require(condition=False, message="nothing changed")
