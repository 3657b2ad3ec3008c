"""Log lines of the processes (JSON, one object a line) as lines for people."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

_COLOURS = {
    "plait": "bold",
    "gateway": "cyan",
    "cf": "green",
    "content": "yellow",
    "sequence": "magenta",
    "text": "blue",
}
_LEVELS = {"warning": "yellow", "error": "red", "critical": "bold red"}
# Said by the prefix, or shown by colour.
_SHOWN = ("time", "level", "role", "message")


def readable_line(name: str, line: str) -> Text:
    """Return a line with its process in front; what is not JSON stays as it is."""
    text = Text(f"{name:>8} ", style=_COLOURS.get(name, "white"))
    entry = parsed(line)
    if entry is None:
        return text.append(line, style="default")
    style = _LEVELS.get(str(entry.get("level")), "default")
    clock = str(entry.get("time", ""))[11:23]
    text.append(f"{clock} ", style="dim").append(str(entry["message"]), style=style)
    for key, value in entry.items():
        if key not in _SHOWN and not isinstance(value, dict | list):
            text.append(f" {key}={value}", style="dim")
    return text


def json_line(name: str, line: str) -> str:
    """Return a line as JSON; plain words, of a library or the supervisor, are put into it."""
    if parsed(line) is not None:
        return line
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "level": "info", "role": name, "message": line})


def message(line: str) -> str:
    """Return what a log line says, without its decoration."""
    entry = parsed(line)
    return line if entry is None else str(entry["message"])


def parsed(line: str) -> Mapping[str, Any] | None:
    """Return a structured log line as a mapping, None if it is not one."""
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) and "message" in entry else None
