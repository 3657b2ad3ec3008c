"""One JSON object per line, and nothing of a request in it."""

import json
import logging
import sys

import pytest

from services.runtime import logs
from services.runtime.logs import JsonFormatter


def _raise_with(history: list[int]) -> None:
    raise KeyError(history)


def _record(message: str, *, error: BaseException | None = None, **extra: object) -> str:
    info = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, message, (), info)
    vars(record).update(extra)
    return JsonFormatter("cf").format(record)


def test_a_record_is_one_line_with_its_extra_fields() -> None:
    line = _record('two\nlines, "quoted"', version=3, seconds=0.25)
    assert "\n" not in line
    parsed = json.loads(line)
    assert parsed.pop("time").endswith("+00:00")
    assert parsed == {
        "level": "warning",
        "role": "cf",
        "message": 'two\nlines, "quoted"',
        "version": 3,
        "seconds": 0.25,
    }


def test_an_exception_is_told_by_type_place_and_few_words() -> None:
    history = list(range(10_000))
    with pytest.raises(KeyError) as caught:
        _raise_with(history)
    parsed = json.loads(_record("unexpected error", error=caught.value))
    assert parsed["error"] == "KeyError"
    assert len(parsed["error_message"]) == 200
    assert parsed["trace"][-1].startswith("test_logs.py:")


def test_configuring_sends_everything_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.configure("cf", "warning")
        logging.getLogger("a.b").info("unheard")
        logging.getLogger("a.b").error("heard")
        sys.stderr.flush()
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [json.loads(line)["message"] for line in captured.err.splitlines()] == ["heard"]


def test_a_complaint_that_is_made_again_and_again_is_news_seldom() -> None:
    now = [0.0]
    seldom = logs.Seldom(lambda: now[0])

    def news(complaint: str, seconds: float) -> list[bool]:
        """Complain once a second."""
        found = []
        for _ in range(int(seconds)):
            found.append(seldom.news(complaint))
            now[0] += 1.0
        return found

    assert news("the disk is full", 100) == [True] + 99 * [False]
    assert news("the disk fails", 30) == [True] + 29 * [False], "another one is news"
    assert sum(news("no answer" if n % 2 else "refused", 1)[0] for n in range(600)) <= 11
    now[0] += 1_000.0
    assert news("no answer", 1) == [True], "it lasts, or is there again"
