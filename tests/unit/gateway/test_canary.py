"""Who is in a canary, and what is kept of it."""

from pathlib import Path

import numpy as np
import pytest

from gateway.rollouts.canary import Canary, place
from gateway.rollouts.record import Record, RecordFile, written

SHOPPERS = [f"shopper-{n}" for n in range(20_000)]


def canary(share: float, salt: str = "a", source: str = "cf", version: str = "2") -> Canary:
    return Canary(source, version, share, salt, 1)


def those_in(share: float, salt: str = "a") -> set[str]:
    made = canary(share, salt)
    return {user for user in SHOPPERS if made.takes(user)}


@pytest.mark.parametrize("share", [1, 10, 50])
def test_the_share_of_shoppers_is_in(share: float) -> None:
    # Within four standard deviations of a fair draw.
    expected = len(SHOPPERS) * share / 100
    assert abs(len(those_in(share)) - expected) < 4 * np.sqrt(expected * (1 - share / 100))


def test_a_larger_share_keeps_those_who_were_in() -> None:
    assert those_in(10) < those_in(30) < those_in(100)


def test_another_rollout_draws_other_shoppers() -> None:
    both = those_in(10, "a") & those_in(10, "b")
    assert len(both) < len(SHOPPERS) * 0.02


def test_places_are_spread_evenly() -> None:
    places = np.array([place("a", user) for user in SHOPPERS])
    counts, _ = np.histogram(places, bins=10, range=(0, 100))
    assert np.abs(counts - 2_000).max() < 200
    assert place("a", "shopper-1") == place("a", "shopper-1")


def test_the_anonymous_are_in_once_everybody_is() -> None:
    assert not canary(99.9).takes("")
    assert canary(100).takes("")


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "deep" / "state.sqlite")
    assert file.read() == Record()
    record = Record().with_canary(canary(10)).with_canary(canary(5, source="text"))
    file.write(record)
    assert file.read() == record
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["state.sqlite.rollouts.json"]


def test_state_files_of_one_stem_have_records_of_their_own(tmp_path: Path) -> None:
    one, another = (RecordFile(tmp_path / name) for name in ("a.sqlite", "a.db"))
    before = Record(fusion=1)
    (tmp_path / "a.rollouts.json").write_text(written(before))  # as it was kept once
    assert one.read() == another.read() == before
    one.write(Record(fusion=2))
    assert (one.read(), another.read()) == (Record(fusion=2), before)
    one.forget()
    another.write(Record(fusion=3))
    assert (one.read(), another.read()) == (Record(), Record(fusion=3))


def test_a_source_has_one_canary() -> None:
    record = Record().with_canary(canary(10)).with_canary(canary(20, version="3"))
    assert record.canaries == (canary(20, version="3"),)
    assert record.without_canary("cf") == Record()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"canaries": [{"source": "cf"}]}'])
def test_a_damaged_record_means_default_versions_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (tmp_path / "state.sqlite.rollouts.json").write_text(text)
    assert RecordFile(tmp_path / "state.sqlite").read() == Record()
    assert "default versions answer everybody" in caplog.text
