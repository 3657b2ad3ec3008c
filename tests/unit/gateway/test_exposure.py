"""What was shown is written down, and never fills the disk."""

import asyncio
import json
import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gateway import exposure
from gateway.exposure import ExposureLog
from gateway.types import Page
from services.runtime.metrics import EXPOSURES_LOST
from tests.unit.gateway.test_paging import ranking


def page() -> Page:
    return Page(ranking(5), np.arange(2, dtype=np.int32))


async def test_lines_are_whole_and_in_order(tmp_path: Path) -> None:
    log = ExposureLog(tmp_path / "deep" / "log.jsonl", 1 << 20)
    for n in range(50):
        log.add(page(), [str(n), "b"])
    await log.stop()
    lines = (tmp_path / "deep" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["item_ids"][0] for line in lines] == [str(n) for n in range(50)]
    assert json.loads(lines[0])["first_position"] == 1


async def test_a_grown_log_is_moved_aside(tmp_path: Path) -> None:
    for _ in range(3):
        log = ExposureLog(tmp_path / "log.jsonl", 100)
        log.add(page(), ["a"])
        await log.stop()
    names = sorted(os.listdir(tmp_path))  # noqa: PTH208 -- a directory of two files
    assert names == ["log.jsonl", "log.jsonl.1"]


async def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    log = ExposureLog(tmp_path / "file" / "log.jsonl", 100)
    log.add(page(), ["a"])
    await log.stop()


async def test_writing_goes_on_once_the_disk_takes_it_again_and_what_was_lost_is_counted(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("in the way")
    log = ExposureLog(tmp_path / "file" / "log.jsonl", 1 << 20)
    before = EXPOSURES_LOST._value.get()
    log.add(page(), ["lost"])
    await log.written()
    (tmp_path / "file").unlink()
    log.add(page(), ["kept"])
    await log.stop()
    assert EXPOSURES_LOST._value.get() == before + 1
    (line,) = (tmp_path / "file" / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["item_ids"] == ["kept"]


async def test_pages_that_wait_for_a_disk_that_stands_still_take_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(exposure, "_MOST_WAITING", 3)
    log = ExposureLog(tmp_path / "log.jsonl", 1 << 20)
    for n in range(5):
        log.add(page(), [str(n)])
    # Who looks for the reason finds it, once: the write itself may never say one.
    assert [r.message for r in caplog.records] == ["exposures are not written"]
    assert "a write has not ended" in caplog.records[0].__dict__["reason"]
    await log.stop()
    assert caplog.records[-1].message == "exposures are written again"
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3


async def test_a_disk_that_stands_still_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    began, goes_on = threading.Event(), threading.Event()
    writes = []

    def stands_still(self: ExposureLog, text: bytes) -> None:
        writes.append(threading.current_thread())
        began.set()
        goes_on.wait(20)

    monkeypatch.setattr(exposure, "_END_SECONDS", 0.3)
    monkeypatch.setattr(ExposureLog, "_append", stands_still)
    log = ExposureLog(tmp_path / "log.jsonl", 1 << 20)
    before = EXPOSURES_LOST._value.get()
    log.add(page(), ["written at last, maybe"])
    await asyncio.to_thread(began.wait, 10)
    log.add(page(), ["lost"])
    try:
        await asyncio.wait_for(log.stop(), 5)
        assert EXPOSURES_LOST._value.get() == before + 1
        assert "exposures are not written" in caplog.text
        # Nor the end of the interpreter.
        assert writes[0].daemon
    finally:
        goes_on.set()


def shown(user: str) -> Page:
    made = ranking(5)
    return Page(replace(made, ask=replace(made.ask, user_id=user)), np.arange(2, dtype=np.int32))


def users(path: Path) -> list[str]:
    return [json.loads(x)["user_id"] for x in path.read_text().splitlines() if not x.isspace()]


async def test_lines_about_a_forgotten_shopper_are_blank_wherever_they_are(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = ExposureLog(path, 1 << 20)
    tricky = 'ann", "user_id": "bob'
    for user in ("ann", "bob", tricky, "änn", "ann"):
        log.add(shown(user), ['"user_id": "ann"'])
    await log.written()
    path.rename(tmp_path / "log.jsonl.1")
    for user in ("ann", "bob"):
        log.add(shown(user), ["a"])
    assert await log.forget("ann") == 3, "two were moved aside, one waits to be written"
    assert await log.forget("nobody") == 0
    assert await log.forget("änn") == 1
    await log.stop()
    assert users(tmp_path / "log.jsonl.1") == ["bob", tricky]
    assert users(path) == ["bob"]


async def test_a_shopper_whose_lines_cannot_be_deleted_is_not_said_to_be_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log.jsonl"
    log = ExposureLog(path, 1 << 20)
    path.mkdir()
    assert await log.forget("ann") is None
    assert "forget them again" in caplog.text
    path.rmdir()
    assert await log.forget("ann") == 0
    await log.stop()


async def test_the_end_waits_for_what_is_being_deleted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = ExposureLog(path, 1 << 20)
    log.add(shown("ann"), ["a"])
    await log.written()
    log.forget("ann")
    await log.stop()
    assert not users(path)
