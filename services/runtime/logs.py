"""Structured logs: one JSON object per line on stderr.

Callers log what happened to the process and which call it was, never what was
in a request: no histories, queries, tokens or metadata.
"""

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

LEVELS = ("debug", "info", "warning", "error")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}
# An exception's own words may quote data; enough of them to recognise it.
_MAX_ERROR = 200
# Seconds before the same complaint is made again, and before another one is.
_SAY_AGAIN, _SAY_OTHER = 600.0, 60.0


class Seldom:
    """Tells whether a complaint that comes again and again is worth a line: at first, and seldom.

    A trouble that lasts must not fill the disk, which may be the trouble. One for each
    thing that may be in trouble; any thread may ask.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said, self._when = "", float("-inf")

    def news(self, complaint: object) -> bool:
        """Say whether to log a complaint now."""
        now, what = self._clock(), str(complaint)
        if now - self._when < (_SAY_AGAIN if what == self._said else _SAY_OTHER):
            return False
        self._said, self._when = what, now
        return True


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; `extra=` fields become members."""

    def __init__(self, role: str, worker: int | None = None) -> None:
        super().__init__()
        self._who: dict[str, object] = {"role": role}
        if worker is not None:
            self._who["worker"] = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._who,
            "message": record.getMessage(),
        }
        line.update({k: v for k, v in vars(record).items() if k not in _STANDARD})
        if record.exc_info and record.exc_info[1] is not None:
            line.update(_describe(record.exc_info[1]))
        return json.dumps(line, default=str)


def _describe(error: BaseException) -> dict[str, object]:
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__name__,
        "error_message": str(error)[:_MAX_ERROR],
        "trace": [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames],
    }


def configure(role: str, level: str, worker: int | None = None) -> None:
    """Send all logging of this process to stderr as JSON, replacing earlier handlers.

    `worker` is the number of one of several that share a port.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(role, worker))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
