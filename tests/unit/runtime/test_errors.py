"""What callers are told."""

from collections.abc import Iterator

import grpc
import pytest

from services.runtime import errors
from services.runtime.errors import InvalidArgument, PlaitError, ResourceExhausted


def _subclasses(cls: type[PlaitError]) -> Iterator[type[PlaitError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def test_every_error_has_a_status_of_its_own_and_stands_in_the_tree() -> None:
    drawn = errors.__doc__ or ""
    classes = list(_subclasses(PlaitError))
    statuses = [c.status for c in classes]
    assert len(set(statuses)) == len(statuses)
    assert not {grpc.StatusCode.OK, grpc.StatusCode.INTERNAL} & set(statuses)
    for cls in classes:
        assert f"── {cls.__name__} " in drawn
        # NOT_FOUND is NotFound: nobody has to look a status up.
        assert cls.__name__.lower() == cls.status.name.replace("_", "").lower()


def test_an_invalid_argument_names_its_field_first() -> None:
    error = InvalidArgument("history_weight", "holds NaN or infinite values")
    assert error.field == "history_weight"
    assert error.message == "history_weight: holds NaN or infinite values"


@pytest.mark.parametrize("text", ["x" * 10_000, "a\nb\r\n" * 900])
def test_a_message_is_one_short_line_whatever_a_caller_put_into_it(text: str) -> None:
    message = InvalidArgument(text, "no such input").message
    assert len(message) <= 500
    assert len(message.splitlines()) == 1


def test_a_refusal_says_when_to_come_back() -> None:
    error = ResourceExhausted("cf: 256 calls are waiting already", retry_after_ms=20)
    assert error.trailing_metadata == (("grpc-retry-pushback-ms", "20"),)
