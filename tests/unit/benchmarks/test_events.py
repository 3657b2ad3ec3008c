"""The event benchmark measures a real gateway, and its arithmetic holds."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import events
from benchmarks.event_load import Seen
from cli.failures import UserError


def test_quantiles_and_rate_come_from_what_was_seen() -> None:
    seen = Seen([0.002] * 99 + [0.1], [0.0] * 99 + [0.05], Counter(OK=98, UNAVAILABLE=2), 980, 2.0)
    made = events.figures(seen)
    assert made["events_per_second"] == 490
    assert made["p50_ms"] == pytest.approx(2.0)
    assert made["p99_ms"] == pytest.approx(100.0)
    assert made["client_late_p99_ms"] == pytest.approx(50.0)
    assert made["not_ok"] == 2
    with pytest.raises(UserError, match="no call"):
        events.figures(Seen())


def test_anyone_can_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = tmp_path / "result.json"
    options = {
        "json": result, "rates": "100x2", "sync-ms": 100, "seconds": 0.2, "rounds": 1,
        "stored": 500, "directory": tmp_path,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["events", *words])
    assert events.main() == 0
    figures = json.loads(result.read_text())["median"]["100x2 sync_ms=100"]
    assert figures["not_ok"] == 0
    assert figures["events_per_commit"] >= 2
    assert "100x2" in capsys.readouterr().out
