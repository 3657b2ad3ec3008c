"""The journal's entries and where they lie in it.

Positions are Valkey's own entry ids, milliseconds and a number within them, as one
integer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NUMBER_BITS = 20
_WRITTEN_BY, _ENTRY = b"by", b"entry"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the journal."""

    position: int
    by: bytes  # who wrote it, and which of its writes it was
    raw: bytes

    @classmethod
    def of(cls, entry_id: bytes, fields: Mapping[bytes, bytes]) -> "Entry":
        """Return an entry as Valkey gives it."""
        return cls(position_of(entry_id), fields.get(_WRITTEN_BY, b""), fields.get(_ENTRY, b""))

    @property
    def time_ms(self) -> int:
        """When Valkey took it."""
        return time_of(self.position)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a journal spans, by positions; 0: none."""

    first: int = 0  # of those that are still there
    last: int = 0  # that there ever was
    forgotten: bool = False  # whether any are there no more

    def passed(self, position: int) -> bool:
        """Say whether entries after a position are there no more.

        Of the first that is left nobody knows which one was before it: where any were
        forgotten, a position before it is taken for one that has missed some.
        """
        behind = position < self.last and (self.first == 0 or position < self.first)
        return self.forgotten and behind


def fields_of(by: bytes, raw: bytes) -> dict[Any, Any]:
    """Return an entry as Valkey takes it."""
    return {_WRITTEN_BY: by, _ENTRY: raw}


def entry_id(position: int) -> str:
    """Return Valkey's id of an entry."""
    return f"{position >> _NUMBER_BITS}-{position & ((1 << _NUMBER_BITS) - 1)}"


def position_of(entry_id: bytes) -> int:
    """Return the position of the entry with an id of Valkey's."""
    milliseconds, _, number = entry_id.decode().partition("-")
    return int(milliseconds) << _NUMBER_BITS | int(number)


def time_of(position: int) -> int:
    """Return when Valkey took an entry, in milliseconds since 1970."""
    return position >> _NUMBER_BITS
