"""Bounds of single values; every refusal names the field."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.types import MOST_AHEAD_MS
from services.runtime.errors import InvalidArgument

LONGEST_ID = 128
LONGEST_EVENT_ID = 64
LONGEST_MARKET = 64
LONGEST_RANKING_ID = 32
LONGEST_QUERY = 256
LONGEST_NAME = 256
_OLDEST_SECONDS = 946_684_800  # the year 2000: older events are a clock that was never set
_LARGEST = 1e9


def text(field: str, value: str, most: int, *, required: bool = False) -> str:
    """Check a string's length."""
    if required and not value.strip():
        raise InvalidArgument(field, "required")
    if len(value) > most:
        raise InvalidArgument(field, f"{len(value)} characters, at most {most} are allowed")
    return value


def name(field: str, value: str, most: int = LONGEST_ID, *, required: bool = False) -> str:
    """Check what names a shopper or a market; return it as an import has it, without blanks."""
    return text(field, value.strip(), most, required=required)


def item_id(field: str, value: str) -> str:
    """Check an item id, 1 to 128 characters; return it as an import has it, without blanks."""
    found = value.strip()
    if 0 < len(found) <= LONGEST_ID:  # hundreds come with a request
        return found
    return name(field, value, required=True)  # says what is wrong


def item_ids(field: str, values: Sequence[str], most: int, least: int = 0) -> tuple[str, ...]:
    """Check a list of item ids, and leave out repetitions."""
    count(field, len(values), most, least)
    if not values:  # most lists are; going through one costs more than all the rest here
        return ()
    ids = (item_id(f"{field}[{number}]", value) for number, value in enumerate(values))
    return tuple(dict.fromkeys(ids))


def count(field: str, number: int, most: int, least: int = 0) -> None:
    """Check how many there are of something."""
    if not least <= number <= most:
        raise InvalidArgument(field, f"{number} given, {least} to {most} are allowed")


def amount(field: str, value: float) -> float:
    """Check a price or quantity: finite, from 0."""
    if not math.isfinite(value):
        raise InvalidArgument(field, f"must be a finite number, is {value}")
    if not 0 <= value <= _LARGEST:
        raise InvalidArgument(field, f"must lie in 0 .. 1e9, is {value!r}")
    return value


def none_of(
    field: str, value: int, enum: EnumDescriptor, allowed: Iterable[int]
) -> InvalidArgument:
    """Return the refusal of an enum's value, with names as callers write them.

    A name that the enum lacks arrives as 0 from clients that turn names into numbers.
    """
    names = ", ".join(enum.values_by_number[number].name for number in allowed)
    known = enum.values_by_number.get(value)
    return InvalidArgument(
        field, f"must be one of {names}; is {value if known is None else known.name}"
    )


def vector(field: str, values: Sequence[float], most: int) -> bytes:
    """Check a vector's length and numbers; return it as float32, little endian."""
    count(field, len(values), most)
    found = np.array(values, "<f4")
    if not np.isfinite(found).all():
        raise InvalidArgument(field, "holds NaN or infinite values")
    return found.tobytes()


def within(field: str, value: float, low: float, high: float) -> float:
    """Check that a number is finite and lies in a range."""
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidArgument(field, f"must lie in {low:g} .. {high:g}, is {value!r}")
    return value


def time_ms(field: str, value: Timestamp, now_ms: int) -> int:
    """Check a time and return it in milliseconds since 1970."""
    seconds, nanos = value.seconds, value.nanos
    if not 0 <= nanos < 1_000_000_000:
        raise InvalidArgument(field, f"nanos must lie in 0 .. 999999999, is {nanos}")
    if seconds < _OLDEST_SECONDS:
        raise InvalidArgument(field, "before the year 2000")
    found = seconds * 1000 + nanos // 1_000_000
    if found > now_ms + MOST_AHEAD_MS:
        raise InvalidArgument(field, "in the future, by more than ten minutes")
    return found
