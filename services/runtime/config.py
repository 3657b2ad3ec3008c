"""One way to configure a process: a frozen dataclass, a file, the environment.

Each process has a section ("gateway", "cf", ...) and a frozen dataclass whose
fields are its settings. Values come from the defaults, then the section's table
in the TOML file named by PLAIT_CONFIG, then PLAIT_<SECTION>_<FIELD>. A name that
fits no field stops the start: a typo must not become a silent default.
"""

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

SECTIONS = ("gateway", "cf", "content", "sequence", "text")
_PREFIX = "PLAIT_"
_FILE = "PLAIT_CONFIG"
# The largest number that gRPC takes; what is larger is no sensible size, count or time either.
MOST = 2**31 - 1
C = TypeVar("C")


@dataclasses.dataclass(frozen=True, slots=True)
class Secret:
    """A setting that no log line shows."""

    text: str

    def __str__(self) -> str:
        return "(set)" if self.text else ""

    __repr__ = __str__


class ConfigError(Exception):
    """A setting is unknown or has a bad value; the message names it and where it came from."""


def load(cls: type[C], section: str, environ: Mapping[str, str]) -> C:
    """Build a configuration dataclass; raises ConfigError."""
    hints = typing.get_type_hints(cls)
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    path = environ.get(_FILE)
    if path:
        for name, value in _table(Path(path), section).items():
            if name not in hints:
                raise ConfigError(f"{path}: [{section}] has no setting '{name}'; {_known(hints)}")
            values[name] = _convert(value, hints[name], f"{path}: [{section}] {name}")
            sources[name] = f"{path}: [{section}] {name}"
    for variable, text in environ.items():
        field = _field(variable, section)
        if field is None:
            continue
        if field not in hints:
            raise ConfigError(f"{variable}: {section} has no setting '{field}'; {_known(hints)}")
        values[field] = _convert(text, hints[field], variable)
        sources[field] = variable
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{section}: {error} (set: {sources or 'defaults only'})") from None


def _field(variable: str, section: str) -> str | None:
    """Return the field a variable sets in this section, None if it is not for it."""
    if not variable.startswith(_PREFIX) or variable == _FILE:
        return None
    name = variable.removeprefix(_PREFIX)
    owner = next((s for s in SECTIONS if name.startswith(f"{s.upper()}_")), None)
    if owner is None and not name.startswith(f"{section.upper()}_"):
        raise ConfigError(
            f"{variable}: names no process; variables are {_PREFIX}<PROCESS>_<SETTING> "
            f"with a process of {', '.join(SECTIONS)}"
        )
    prefix = f"{section.upper()}_"
    return name.removeprefix(prefix).lower() if name.startswith(prefix) else None


def _table(path: Path, section: str) -> dict[str, object]:
    try:
        # Some editors put a byte order mark first.
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from None
    unknown = [name for name in document if name not in {*SECTIONS, section}]
    if unknown:
        raise ConfigError(
            f"{path}: '{unknown[0]}' names no process; there are tables for {', '.join(SECTIONS)}"
        )
    table = document.get(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: [{section}] must be a table")
    return table


def _known(hints: Mapping[str, object]) -> str:
    return f"it has {', '.join(sorted(hints))}"


def _convert(value: object, hint: object, where: str) -> object:
    """Turn a TOML value or a string into the type of a field."""
    if isinstance(hint, types.UnionType):
        options = [o for o in typing.get_args(hint) if o is not type(None)]
        if value is None or value == "":
            return None
        hint = options[0]
    if typing.get_origin(hint) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list):
            raise ConfigError(f"{where}: wants a list, got {value!r}")
        item = typing.get_args(hint)[0]
        return tuple(
            _convert(p.strip() if isinstance(p, str) else p, item, where) for p in parts if p != ""
        )
    return _scalar(value, hint, where)


def _scalar(value: object, hint: object, where: str) -> object:
    if hint is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
            return str(value).lower() in {"1", "true", "yes", "on"}
        raise ConfigError(f"{where}: wants true or false, got {value!r}")
    if hint is Secret:
        if not isinstance(value, str):  # which no message quotes
            raise ConfigError(f"{where}: wants text, in quotes")
        return Secret(value)
    if not callable(hint) or isinstance(value, bool | list | dict):
        raise ConfigError(f"{where}: {value!r} does not fit")
    try:
        # Of a fraction int would silently leave off what is behind the point.
        found = hint(str(value) if hint is int else value)
    except (TypeError, ValueError, OverflowError):
        name = getattr(hint, "__name__", str(hint))
        raise ConfigError(f"{where}: wants {name}, got {value!r}") from None
    if isinstance(found, float) and not math.isfinite(found):
        raise ConfigError(f"{where}: wants a finite number, got {value!r}")
    return found


def require(condition: bool, message: str) -> None:
    """Raise ValueError from a dataclass's __post_init__; `load` adds where it came from."""
    if not condition:
        raise ValueError(message)


def describe(config: object) -> dict[str, str]:
    """Return a configuration as strings for the start-up log line."""
    names = [f.name for f in dataclasses.fields(config)]  # type: ignore[arg-type]
    return {name: str(getattr(config, name)) for name in names}
