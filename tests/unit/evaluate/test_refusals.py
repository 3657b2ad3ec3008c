"""What an evaluation refuses, and that its advice leads on and not back."""

from pathlib import Path

import pytest

from models.data.dataset import write_dataset
from models.data.errors import SplitError
from models.evaluate.parts import make_parts
from tests.unit.data.builders import dataset
from tests.unit.evaluate.test_protocols import report


def test_a_given_split_of_one_part_sends_nobody_from_test_to_validation_and_back() -> None:
    rows = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
    trained = dataset(rows, splits=["train"] * 4, times="none")
    for judged in ("test", "validation"):
        with pytest.raises(SplitError, match=f"no {judged} part to judge; import the data anew"):
            make_parts(trained, "given-split", judged=judged)


def test_who_bought_the_same_again_and_no_more_is_judged_with_seen_items(tmp_path: Path) -> None:
    made = dataset([(user, user) for user in "abcd" for _ in range(4)], hours=list(range(16)))
    data = tmp_path / "data"
    same = write_dataset(data, items=made.items, events=made.events, info=made.info)
    with pytest.raises(SplitError, match="judge by it with --include-seen"):
        report(same, tmp_path, "leave-one-out", "popular")
    assert report(same, tmp_path, "leave-one-out", "popular", exclude_seen=False).tables
