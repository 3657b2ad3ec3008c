"""Why no replica of a source was called.

ReplicaError
 ├── NotReachable      none is there and ready
 ├── BreakersOpen      those that would do have failed lately and rest
 └── VersionNotServed  the version asked for is served by none
What a replica that was called says instead is its own gRPC status.
"""

from typing import ClassVar

from gateway.types import Outcome


class ReplicaError(Exception):
    """No call was made; the message may be shown, `outcome` is what the API calls it."""

    outcome: ClassVar[Outcome] = Outcome.ERROR


class NotReachable(ReplicaError):
    """No replica is there and ready."""


class BreakersOpen(ReplicaError):
    """Every replica that would do rests after failures."""

    outcome = Outcome.OPEN


class VersionNotServed(ReplicaError):
    """No replica serves the version that the request names."""
