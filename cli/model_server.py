"""A model service as the commands see it: which versions it serves, and changing that.

It speaks the Open Inference Protocol, so these calls mean the same to anybody's client.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import Message

from cli.failures import UserError
from inference import inference_pb2 as pb
from inference.inference_pb2_grpc import GRPCInferenceServiceStub

Reply = TypeVar("Reply", bound=Message)
PREVIOUS = "previous"


class ServerUnreachable(UserError):
    """Nothing answers where a model service should be."""


class ModelServer:
    """A connection to one service; use as a context manager."""

    def __init__(self, name: str, address: str, timeout: float) -> None:
        """`name` is the source's and its model's; `timeout` in seconds, loading included."""
        self.name = name
        self.address = address
        self._timeout = timeout
        self._channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        self._stub = GRPCInferenceServiceStub(self._channel)

    def versions(self) -> list[str]:
        """Return the versions it serves, the default one last."""
        return list(
            self._call(self._stub.ModelMetadata, pb.ModelMetadataRequest(name=self.name)).versions
        )

    def newest(self) -> str:
        """Return the newest version in its repository, served or not."""
        index = self._call(self._stub.RepositoryIndex, pb.RepositoryIndexRequest())
        found = [m.version for m in index.models if m.name == self.name]
        if not found:
            raise UserError(f"{self.name}: its repository holds no version; train one first")
        return str(max(found, key=lambda v: (v.isdecimal(), int(v) if v.isdecimal() else 0)))

    def load(self, version: str, *, beside: bool = False) -> None:
        """Have a version (or PREVIOUS) loaded, as the default or beside it."""
        request = pb.RepositoryModelLoadRequest(model_name=self.name)
        request.parameters["version"].string_param = version
        if beside:
            request.parameters["beside"].bool_param = True
        self._call(self._stub.RepositoryModelLoad, request)

    def unload(self, version: str) -> None:
        """Have a version beside the default unloaded."""
        request = pb.RepositoryModelUnloadRequest(model_name=self.name)
        request.parameters["version"].string_param = version
        self._call(self._stub.RepositoryModelUnload, request)

    def _call(self, method: Callable[..., Any], request: Message) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise _readable(cast("grpc.Call", error), self.name, self.address) from None

    def __enter__(self) -> "ModelServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()


def each(
    servers: Sequence[ModelServer],
    do: Callable[[ModelServer], None],
    done: str,
    then: str,
    before: Sequence[ModelServer] = (),
) -> None:
    """Ask one server after the other; where one fails, say which have `done` it before."""
    for number, server in enumerate(servers):
        with half_way((*before, *servers[:number]), done, then):
            do(server)


@contextmanager
def half_way(changed: Sequence[ModelServer], done: str, then: str) -> Iterator[None]:
    """Add to a failure which servers are `changed` by now, and what to do `then`."""
    try:
        yield
    except UserError as error:
        if not changed:
            raise
        which = ", ".join(server.address for server in changed)
        raise UserError(f"{error.message}. Changed before that: {which} {done}; {then}") from None


def _readable(error: grpc.Call, name: str, address: str) -> UserError:
    code, details = error.code(), error.details() or "no details"
    if code == grpc.StatusCode.UNAVAILABLE:
        return ServerUnreachable(
            f"The {name} service at {address} does not answer ({details}): start it with "
            f"`plait up`, whose log says so if it leaves {name} out, or name another with --at "
            f"{name}=HOST:PORT/METRICS_PORT"
        )
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return UserError(
            f"The {name} service at {address} did not finish in time: give it longer with "
            "--timeout SECONDS, and look at `plait models`"
        )
    known = (
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    return UserError(
        details if code in known else f"{name} at {address} answered {code.name}: {details}"
    )
