"""Reading what is searched: `--search` on top of what the source declares."""

import json
from collections.abc import Mapping
from typing import Any

from models.data.errors import OptionError
from models.options import with_options
from models.space import OF_TIMES, Between, OneOf, Space, space_of

_FORM = "FIELD=low..high, FIELD=low..high:log or FIELD=a,b,c"


def read_space(
    source: str,
    config: Any,
    texts: tuple[str, ...],
    fixed: Mapping[str, str],
    *,
    timed: bool = True,
) -> dict[str, Space]:
    """Return what is searched: field -> space, checked against the configuration.

    Without `texts` it is what the source declares, less what is `fixed`, and less what has
    no effect where events are not `timed`. A text that is a field's name alone takes that
    field's declared space. Raises OptionError that names the fields there are.
    """
    idle = frozenset() if timed else OF_TIMES
    declared = space_of(source, config)
    found = {n: space for n, space in declared.items() if n not in fixed and n not in idle}
    if texts:
        found = dict(_one(text, declared) for text in texts)
    for name, space in found.items():
        if name in idle:
            raise OptionError(f"{name} has no effect: the dataset's events have no times")
        if name in fixed:
            raise OptionError(f"{name} is both set and searched: leave out one of the two")
        _check(source, config, name, space)
    if not found:
        raise OptionError(f"{source}: nothing is left to search; name a field: --search {_FORM}")
    return found


def as_text(config: Any, name: str, value: object) -> str:
    """Return a value as `--set` reads it; three digits of a number are enough to repeat it.

    One value for a field that is a list is a list of one.
    """
    text = f"{float(f'{value:.3g}'):g}" if isinstance(value, float) else str(value)
    listed = isinstance(getattr(config, name, None), tuple) and not text.startswith("[")
    return f"[{text}]" if listed else text


def whole(config: Any, name: str) -> bool:
    """Say whether a field holds whole numbers."""
    usual = getattr(config, name)
    first = usual[0] if isinstance(usual, tuple) and usual else usual
    return isinstance(first, int) and not isinstance(first, bool)


def _one(text: str, declared: Mapping[str, Space]) -> tuple[str, Space]:
    name, equals, value = text.partition("=")
    if not equals:
        if name not in declared:
            raise OptionError(
                f"{name!r} has no range of its own (there are: {', '.join(declared)}); say {_FORM}"
            )
        return name, declared[name]
    if ".." in value:
        return name, _range(text, value)
    values = _values(value)
    if not values:
        raise OptionError(f"{text!r} is not {_FORM}")
    return name, OneOf(values)


def _range(text: str, value: str) -> Between:
    ends, colon, scale = value.partition(":")
    first, _, last = ends.partition("..")
    try:
        low, high = float(first), float(last)
    except ValueError:
        raise OptionError(f"{text!r} is not {_FORM}") from None
    if (colon and scale != "log") or not low < high or (colon and low <= 0):
        raise OptionError(
            f"{text!r} is no range: low is below high, and with :log (there is no other) above 0"
        )
    return Between(low, high, log=bool(colon))


def _values(text: str) -> tuple[str, ...]:
    """Split at commas, but not within lists."""
    try:
        found = [json.dumps(value) for value in json.loads(f"[{text}]")]
    except ValueError:
        found = [part.strip() for part in text.split(",")]
    return tuple(dict.fromkeys(part.strip('"') for part in found if part))


def _check(source: str, config: Any, name: str, space: Space) -> None:
    """Try the ends, or every choice; raises OptionError."""
    ends: tuple[object, ...]
    if isinstance(space, OneOf):
        ends = space.values
    elif hasattr(config, name) and whole(config, name):
        if space.low % 1 or space.high % 1:
            raise OptionError(f"{source}: {name} is a whole number, and so are a range's ends")
        ends = (int(space.low), int(space.high))
    else:
        ends = (float(space.low), float(space.high))
    for value in ends:
        with_options(config, source, {name: as_text(config, name, value)})
