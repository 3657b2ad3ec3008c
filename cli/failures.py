"""What a person reads when something fails: one line that names it and says what to do.

An expected failure (no gateway, a refused request, a missing file) is no reason
for a traceback; anything else is a defect and keeps its traceback.
"""

import errno
from typing import cast

import grpc
from click import ClickException


class UserError(ClickException):
    """An expected failure: printed as one line, exit code 1."""

    exit_code = 1


class GatewayUnreachable(UserError):
    """No gateway answers, or one that cannot now; exit code 69 (EX_UNAVAILABLE) for scripts."""

    exit_code = 69


def of_the_machine(error: OSError) -> UserError | None:
    """Say what helps where the machine failed amid the work; None for any other failure."""
    if error.errno not in _THE_MACHINES:
        return None
    # A copy names what it read, then what it wrote.
    named = error.filename2 or error.filename
    place = f"{named}: " if named else ""
    return UserError(f"{place}{error.strerror}; {_THE_MACHINES[error.errno]}")


def readable(error: grpc.RpcError, address: str) -> UserError:
    """Turn the failure of a call to the gateway at `address` into a message for people."""
    # What a stub raises is an RpcError that is a Call as well; the types do not say so.
    failure = cast("grpc.Call", error)
    code, details = failure.code(), failure.details() or "no details"
    if code == grpc.StatusCode.UNAVAILABLE:
        if not details.startswith(_NO_CONNECTION):
            return GatewayUnreachable(
                f"The gateway at {address} is not available for this at the moment: {details}"
            )
        return GatewayUnreachable(
            f"No gateway answers at {address}: start one with `plait up`, "
            "or name another with --gateway HOST:PORT"
        )
    if code == grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in details:
        return UserError(
            f"The gateway at {address} takes no message as large as this ({details}): send less at "
            "once, or raise its setting max_message_bytes"
        )
    return UserError(_MESSAGES.get(code, _OTHER).format(at=address, why=details, code=code.name))


_SPACE = "what was being written is not to be used: free some space and run it again"
_ELSEWHERE = "choose another place"
_FILES = "allow more open files (ulimit -n) and run it again"
_ALLOWED = "have its owner allow it, or choose another place"
_THE_MACHINES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "allow larger files (ulimit -f) and run it again",
    errno.EROFS: _ELSEWHERE,
    # The name of a place that cannot be one: below a file, a directory for a file, too long.
    errno.ENOTDIR: _ELSEWHERE,
    errno.EEXIST: _ELSEWHERE,
    errno.EISDIR: _ELSEWHERE,
    errno.ENAMETOOLONG: _ELSEWHERE,
    errno.EACCES: _ALLOWED,
    errno.EPERM: _ALLOWED,
    errno.EIO: "the disk is damaged or gone",
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
}
# What gRPC itself says where nobody answers; the rest mostly are the gateway's own words.
_NO_CONNECTION = ("failed to connect", "DNS resolution failed", "Domain name not found")
_TOO_LARGE = "larger than max"
_OTHER = "The gateway at {at} answered {code}: {why}"
_MESSAGES = {
    grpc.StatusCode.INVALID_ARGUMENT: "The gateway refused the request: {why}",
    grpc.StatusCode.NOT_FOUND: "Not found: {why}",
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        "The gateway at {at} did not answer in time: give it longer with --timeout SECONDS, "
        "or look at `plait models`"
    ),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (
        "The gateway at {at} has more work than it can do ({why}): try again in a moment"
    ),
    grpc.StatusCode.UNIMPLEMENTED: (
        "{at} serves gRPC but not this call: is it a Plait gateway of this release? (default "
        "port 50050)"
    ),
    grpc.StatusCode.INTERNAL: "The gateway at {at} failed on this request: its log says why",
    grpc.StatusCode.FAILED_PRECONDITION: "The gateway cannot do this now: {why}",
    grpc.StatusCode.PERMISSION_DENIED: "The gateway at {at} refuses this to you: {why}",
}
