"""Settings given as text for a frozen configuration: checked, and named in every complaint."""

import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from models.data.errors import OptionError

T = TypeVar("T")
# No size, count or weight is greater, and what computes with them counts no further.
_MOST = 2**31 - 1


def with_options(config: T, what: str, options: Mapping[str, object]) -> T:
    """Return `config` (a dataclass) with fields replaced; text is read as JSON where it is.

    A list becomes a tuple, a whole number may stand for a fraction. Raises
    OptionError naming `what`, the field, and what there is.
    """
    hints = typing.get_type_hints(type(config))
    given: dict[str, Any] = {}
    for name, value in options.items():
        if name not in hints:
            raise OptionError(
                f"{what} has no setting {name!r}; there are: {', '.join(sorted(hints))}"
            )
        read = _read(value)
        if not _fits(read, hints[name], getattr(config, name)):
            usual = getattr(config, name)
            other = "true, false" if bool in typing.get_args(hints[name]) else "a number"
            like = f"{other} or null" if usual is None else f"something like {usual!r}"
            raise OptionError(f"{what}: {name} is {value!r}, expected {like}")
        # The usual seed is 0, which of other settings says nothing about what is below it.
        if why := _beyond(read, 1 if name == "seed" else getattr(config, name)):
            raise OptionError(f"{what}: {name} is {value!r}, {why}")
        fraction = float in (hints[name], *typing.get_args(hints[name]))
        given[name] = float(read) if fraction and isinstance(read, int) else read
    try:
        return dataclasses.replace(config, **given)  # type: ignore[type-var]
    except ValueError as error:
        raise OptionError(f"{what}: {error}") from None


def _read(value: object) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        return value
    return tuple(found) if isinstance(found, list) else found


def _beyond(value: object, usual: object) -> str:
    """Say what is wrong with a value of the right type, as far as the usual one tells."""
    if isinstance(value, tuple) and isinstance(usual, tuple) and usual:
        if not value:
            return "expected at least one"
        return next((why for v in value if (why := _beyond(v, min(usual)))), "")
    if not isinstance(value, int | float):
        return ""
    usual = usual if isinstance(usual, int | float) else 0
    least = 0 if usual > 0 else -_MOST
    # Not so of what is no number (NaN) either.
    return "" if least <= value <= _MOST else f"expected a number from {least} to {_MOST:,}"


def _fits(value: object, hint: Any, usual: object) -> bool:
    """Say whether a value has the type of a field: that of its usual value, or None.

    Where None is usual, a truth value or a number is the other, as the hint says.
    """
    if value is None:
        return usual is None or type(None) in typing.get_args(hint)
    if usual is None:
        other = bool if isinstance(value, bool) else float
        return isinstance(value, int | float) and other in typing.get_args(hint)
    if isinstance(usual, bool) or isinstance(value, bool):
        return isinstance(usual, bool) and isinstance(value, bool)
    if isinstance(usual, float):
        return isinstance(value, int | float)
    if isinstance(value, tuple) and isinstance(usual, tuple):
        like = usual[0] if usual else typing.get_args(hint)[0]()  # where none is usual
        return all(_fits(part, None, like) for part in value)
    return isinstance(value, type(usual))
