"""A repair ends with the gateway that wants it, in good order or not."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from gateway.errors import StoreFailed
from gateway.store import Store, StoreSettings
from tests.support.servers import PATIENCE
from tests.unit.gateway.damage import spoil

linux = pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = tmp_path / "state.sqlite"
    store = Store(path, StoreSettings(5))
    store.start()
    store.stop()
    spoil(path, [1])
    return path


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the program that salvages, which takes for ever."""
    place = tmp_path / "bin" / "salvaging"
    place.parent.mkdir()
    sleep = shutil.which("sleep")
    assert sleep is not None
    place.write_text(f"#!/bin/sh\nexec {sleep} 600\n")
    place.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(place))
    yield sleep
    for child in salvaging(sleep):
        child.kill()


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.01)


def salvaging(program: str) -> list[psutil.Process]:
    children = psutil.Process().children()
    return [p for p in children if p.cmdline()[:1] == [program]]


def test_a_repair_at_the_start_is_given_up_when_the_gateway_stops(
    damaged: Path, endless: str
) -> None:
    before, stopping = damaged.read_bytes(), threading.Event()
    store = Store(damaged, StoreSettings(5), stopping=stopping)
    with ThreadPoolExecutor(1) as starting:
        started = starting.submit(store.start)
        until(lambda: salvaging(endless), "the repair")
        stopping.set()
        with pytest.raises(StoreFailed, match="given up, the next start begins anew"):
            started.result(30)
    assert not salvaging(endless)
    assert damaged.read_bytes() == before
    assert not [p for p in damaged.parent.iterdir() if ".repair" in p.name or ".damaged-" in p.name]


def test_a_repair_under_way_is_given_up_when_the_gateway_stops(
    tmp_path: Path, endless: str
) -> None:
    store = Store(tmp_path / "state.sqlite", StoreSettings(5))
    store.start()
    store.condition.ill(ValueError("a row that makes no sense"))
    until(lambda: salvaging(endless), "the repair")
    with ThreadPoolExecutor(1) as stopping:
        stopping.submit(store.stop).result(30)
    assert not salvaging(endless)


@linux
def test_a_repair_does_not_outlive_a_gateway_that_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "damaged")  # whoever reads it waits
    salvage = [sys.executable, "-m", "gateway.salvage", str(tmp_path / "damaged")]
    script = f"import subprocess; subprocess.run({[*salvage, str(tmp_path / 'new')]!r})"
    gateway = subprocess.Popen([sys.executable, "-c", script])
    until((tmp_path / "new").exists, "the repair")
    (repair,) = psutil.Process(gateway.pid).children()
    gateway.send_signal(signal.SIGKILL)
    gateway.wait()
    repair.wait(30)
