"""What a call can be told, as exceptions; the gRPC status is on the class.

PlaitError
 ├── InvalidArgument     a field of the request is wrong; names it
 ├── NotFound            no such model, version, item, ...
 ├── PermissionDenied    this caller may not
 ├── FailedPrecondition  valid, but the state of the server forbids it
 ├── ResourceExhausted   too much at once; says when to try again
 ├── Unavailable         not ready, draining, or a part of it is gone
 └── DeadlineExceeded    the caller's time is over
Code raises these and never touches a gRPC context; one interceptor
(interceptors.py) turns them into statuses. Whatever else is raised becomes
INTERNAL without detail (`as_told`). Errors of configuration (config.ConfigError), of
artifacts (artifacts.errors) and StartError end the process instead.
"""

import logging
import secrets
from typing import ClassVar

import grpc

_log = logging.getLogger(__name__)
# A status message travels as an HTTP/2 header, of which clients accept 8 kB
# together; names a caller made up must not fill it.
_MAX_MESSAGE = 500


class PlaitError(Exception):
    """Base of every error a caller sees; subclasses set `status`."""

    status: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL

    @property
    def message(self) -> str:
        """What the caller reads: one line of at most 500 characters."""
        text = " ".join(str(self).split())
        return text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE - 3]}..."

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata sent with the status."""
        return ()


class InvalidArgument(PlaitError):
    """One field of the request is wrong."""

    status = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self._problem = problem

    def inside(self, field: str) -> "InvalidArgument":
        """Return the same, of a field that is part of another."""
        return InvalidArgument(f"{field}.{self.field}", self._problem)


class NotFound(PlaitError):
    """What the request names does not exist."""

    status = grpc.StatusCode.NOT_FOUND


class PermissionDenied(PlaitError):
    """The request is valid, but not from this caller."""

    status = grpc.StatusCode.PERMISSION_DENIED


class FailedPrecondition(PlaitError):
    """The request is valid, the state of the server forbids it."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class ResourceExhausted(PlaitError):
    """More was asked at once than is admitted; retry after a pause.

    `retry_after_ms` travels as gRPC's own pushback, which clients with a retry
    policy obey by themselves.
    """

    status = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, retry_after_ms: int = 50) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """The pause, as `grpc-retry-pushback-ms`."""
        return (("grpc-retry-pushback-ms", str(self.retry_after_ms)),)


class Unavailable(PlaitError):
    """Not ready yet, draining, or a part it needs is gone; retry elsewhere.

    `retry_after_ms`, where the server knows better than the client's own backoff,
    travels as gRPC's pushback.
    """

    status = grpc.StatusCode.UNAVAILABLE

    def __init__(self, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms

    @property
    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """The pause, as `grpc-retry-pushback-ms`."""
        if self.retry_after_ms is None:
            return ()
        return (("grpc-retry-pushback-ms", str(self.retry_after_ms)),)


class DeadlineExceeded(PlaitError):
    """The caller's deadline passed before the work was done."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


def as_told(error: Exception, method: str) -> PlaitError:
    """Return what a caller is told of an error: of one that nobody foresaw, where it is logged."""
    if isinstance(error, PlaitError):
        return error
    error_id = secrets.token_hex(6)
    _log.error("unexpected error", extra={"error_id": error_id, "method": method}, exc_info=error)
    return PlaitError(f"internal error, logged as {error_id}")


class StartError(Exception):
    """The process cannot start, for example because its port is taken.

    The message is the one line a person reads; the process exits with 1.
    """
