"""Breaking a message: its fields by their types, then its bytes by the wire format.

Each mutation says what status it must have where that is certain: bytes that are no
message, and values no field allows, are the caller's error and nothing else.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from benchmarks.chaos.fuzz import tensors
from inference import inference_pb2 as pb

_F = FieldDescriptor
# Python classes and C ones look alike, and type checkers know only the former.
_Field = Any
_INTEGERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 200, 10_000)
_FLOATS = (float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324, -0.0, 1e20, -1.0)
_STRINGS = (
    "", " ", "\x00", "\n", "a" * 129, "b" * 5_000, "\U0001f4a5" * 70, "é" * 300, "../../etc/passwd",
    "' OR 1=1 --", "%s%n", "\u202e", "fuzz-1", "-1", "NaN",
)  # fmt: skip
_RANGES = {
    _F.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    _F.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
    _F.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    _F.CPPTYPE_UINT32: (0, 2**32 - 1),
    _F.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_LARGE = "c" * 1_000_000
_MARK = "@@@@@@@@"
_BAD_TEXT = b"\xff\xfe\xc0\x80\xed\xa0\x80\xf8"


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes to send, how they were made, and whether they certainly are an invalid argument."""

    raw: bytes
    how: str
    certain: bool = False


def mutated(message: Message, chance: random.Random) -> Malformed:
    """Return a broken copy of a valid message."""
    ways: list[Callable[[Message, random.Random], Malformed]] = [_fields, _fields, _bytes, _bytes]
    if isinstance(message, pb.ModelInferRequest):
        ways += [_tensors] * 4
    made = chance.choice(ways)(message, chance)
    if made.certain or parses(type(message), made.raw):
        return made
    return Malformed(made.raw, f"{made.how}, no message any more", certain=True)


def parses(kind: type[Message], raw: bytes) -> bool:
    """Say whether bytes are a message of a type."""
    try:
        kind.FromString(raw)
    except DecodeError:
        return False
    return True


def _tensors(message: Message, chance: random.Random) -> Malformed:
    copy = pb.ModelInferRequest.FromString(message.SerializeToString())
    how = tensors.spoil(copy, chance)
    return Malformed(copy.SerializeToString(), how, certain=True)


def _fields(message: Message, chance: random.Random) -> Malformed:
    """Set one to three fields, wherever in the message, to what their type allows at most."""
    copy = type(message)()
    copy.CopyFrom(message)
    said = [_one_field(copy, chance) for _ in range(chance.choice((1, 1, 2, 3)))]
    if chance.random() < 0.1 and _mark_text(copy, chance):
        raw = copy.SerializeToString().replace(_MARK.encode(), _BAD_TEXT)
        return Malformed(raw, "text that is not UTF-8")
    return Malformed(copy.SerializeToString(), ", ".join(said))


def _one_field(message: Message, chance: random.Random) -> str:
    places = list(_places(message))
    if not places:
        return "nothing to set"
    owner, field = chance.choice(places)
    if _is_map(field):
        entries = getattr(owner, field.name)
        if field.message_type.fields_by_name["value"].type == _F.TYPE_STRING:
            for number in range(chance.choice((1, 101, 500))):
                entries[f"fuzz-{number}"] = chance.choice(_STRINGS)
        return f"{field.name} filled"
    if field.is_repeated:
        return _repeat(owner, field, chance)
    if field.type == _F.TYPE_MESSAGE:
        if chance.random() < 0.5:
            owner.ClearField(field.name)
            return f"{field.name} cleared"
        getattr(owner, field.name).SetInParent()
        return f"{field.name} empty"
    value = _value(field, chance)
    setattr(owner, field.name, value)
    return f"{field.name} = {str(value)[:20]!r}"


def _repeat(owner: Message, field: _Field, chance: random.Random) -> str:
    values = getattr(owner, field.name)
    times = chance.choice((0, 1, 2, 201, 1_001)) if chance.random() < 0.3 else chance.choice((0, 1))
    if not times:
        owner.ClearField(field.name)
    for _ in range(times):
        if field.type != _F.TYPE_MESSAGE:
            values.append(_value(field, chance))
        elif len(values) and chance.random() < 0.7:
            values.add().CopyFrom(values[0])
        else:
            values.add()
    return f"{field.name} x {times}"


def _value(field: _Field, chance: random.Random) -> Any:
    kind = field.cpp_type
    if field.type == _F.TYPE_BYTES:
        return chance.randbytes(chance.choice((0, 1, 7, 64)))
    if kind == _F.CPPTYPE_STRING:
        return _LARGE if chance.random() < 0.01 else chance.choice(_STRINGS)
    if kind == _F.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if kind in (_F.CPPTYPE_DOUBLE, _F.CPPTYPE_FLOAT):
        return chance.choice(_FLOATS)
    low, high = _RANGES[kind]
    return max(low, min(chance.choice(_INTEGERS), high))


def _places(message: Message) -> list[tuple[Message, _Field]]:
    """Return every field of a message and of the messages within it, set or not."""
    found = [(message, field) for field in message.DESCRIPTOR.fields]
    for field, value in message.ListFields():
        if field.type != _F.TYPE_MESSAGE or _is_map(field):
            continue
        for inner in value if field.is_repeated else [value]:
            found += _places(inner)
    return found


def _is_map(field: _Field) -> bool:
    return bool(field.type == _F.TYPE_MESSAGE and field.message_type.GetOptions().map_entry)


def _mark_text(message: Message, chance: random.Random) -> bool:
    places = [
        (owner, field)
        for owner, field in _places(message)
        if field.type == _F.TYPE_STRING and not field.is_repeated
    ]
    if places:
        owner, field = chance.choice(places)
        setattr(owner, field.name, _MARK)
    return bool(places)


def _bytes(message: Message, chance: random.Random) -> Malformed:
    raw = message.SerializeToString()
    how, change = chance.choice(_ON_THE_WIRE)
    return Malformed(change(raw, chance), how)


def _cut(raw: bytes, chance: random.Random) -> bytes:
    return raw[: chance.randrange(len(raw) + 1)]


def _flip(raw: bytes, chance: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _insert(raw: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(raw) + 1)
    return raw[:at] + chance.randbytes(chance.choice((1, 4, 32))) + raw[at:]


def _unknown(raw: bytes, chance: random.Random) -> bytes:
    """Add a well-formed field that nobody knows: allowed, and to be ignored."""
    number = chance.randrange(1_000, 500_000)
    return raw + _varint(number << 3 | 2) + _varint(20) + chance.randbytes(20)


def _nest(raw: bytes, chance: random.Random) -> bytes:
    """Put groups into groups, deeper than any parser follows."""
    depth = chance.choice((10, 99, 101, 5_000))
    return raw + b"\xf3\x3e" * depth + b"\xf4\x3e" * depth


def _huge_length(raw: bytes, chance: random.Random) -> bytes:
    """Claim more bytes than there are."""
    return raw + b"\x0a" + _varint(chance.choice((2**31 - 1, 2**32, 2**63))) + b"x"


def _long_number(raw: bytes, chance: random.Random) -> bytes:
    return raw + b"\x08" + b"\xff" * chance.choice((9, 10, 11, 50)) + b"\x01"


def _twice(raw: bytes, chance: random.Random) -> bytes:
    return raw * chance.choice((2, 3))


def _noise(raw: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((1, 10, len(raw) + 1, 4_096)))


def _varint(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


_ON_THE_WIRE: Sequence[tuple[str, Callable[[bytes, random.Random], bytes]]] = (
    ("cut off", _cut),
    ("bits flipped", _flip),
    ("bytes put in", _insert),
    ("an unknown field", _unknown),
    ("groups in groups", _nest),
    ("a length beyond the end", _huge_length),
    ("a number too long", _long_number),
    ("twice", _twice),
    ("noise", _noise),
)
