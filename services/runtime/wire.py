"""Finds the text field whose bytes are not UTF-8 in a message that did not parse.

The protobuf parser refuses such a message whole and does not say why; a caller
deserves the name of the field. This runs only after a parse has failed.
"""

from collections import Counter
from collections.abc import Iterator

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 20


def request_type(method: str) -> Descriptor | None:
    """Return the request message of a gRPC method such as "/plait.v1.EventService/RecordEvents"."""
    service, _, name = method.strip("/").partition("/")
    try:
        found = descriptor_pool.Default().FindServiceByName(service)
        return found.methods_by_name[name].input_type
    except KeyError:
        return None


def bad_text(message: Descriptor, data: bytes, depth: int = 0) -> str | None:
    """Return the path of the first text that is not UTF-8, like "items[2].title".

    None where all text is well formed, or the bytes are no message at all.
    """
    seen: Counter[int] = Counter()
    try:
        for number, value in _length_delimited(data):
            field = message.fields_by_number.get(number)
            if field is None:
                continue
            name = f"{field.name}[{seen[number]}]" if field.is_repeated else str(field.name)
            seen[number] += 1
            if field.type == FieldDescriptor.TYPE_STRING and not _is_utf8(value):
                return name
            if field.message_type is not None and depth < _MAX_DEPTH:
                inner = bad_text(field.message_type, value, depth + 1)
                if inner is not None:
                    return f"{name}.{inner}"
    except (IndexError, ValueError):
        return None
    return None


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _length_delimited(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield field number and bytes of the fields that carry bytes; skip the others."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _LENGTH:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("a field ends after the message does")
            yield tag >> 3, data[at : at + size]
            at += size
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} is not in use")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than 64 bits")
