"""Memory that training asks for and the machine has not: one error, whichever library asked."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from models.data.errors import OptionError

# What torch, whose error is any RuntimeError, says where it gets none; the last: beyond 64 bits.
_NONE_LEFT = re.compile(
    r"(allocate|not enough|out of) memory|Storage size calculation overflowed", re.IGNORECASE
)
_BYTES = re.compile(r"allocate (\d+) bytes|Unable to allocate ([\d.]+ .iB)")


@contextmanager
def enough_memory(what: str, settings: Mapping[str, object] | None = None) -> Iterator[None]:
    """Raise OptionError where training `what` is refused memory; it names the `settings` given."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NONE_LEFT.search(str(error)):
            raise
        given = ", ".join(f"{what}.{name}={value}" for name, value in (settings or {}).items())
        sizes = f"what makes it large ({given} was set)" if given else "its sizes (--set)"
        raise OptionError(
            f"{what}: training it needs {_much(error)} memory than there is; lower {sizes}, choose "
            "a smaller --preset, or train on a machine with more"
        ) from None


def _much(error: BaseException) -> str:
    found = _BYTES.search(str(error))
    if found is None:
        return "more"
    size = found[2] or f"{int(found[1]) / 2**30:,.1f} GiB"
    return f"{size} at once, more"
