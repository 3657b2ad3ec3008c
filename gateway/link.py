"""What the gateway needs of whatever serves a source: servers it calls, or models beside it.

connection.py is the first kind, embedded.py the second; nothing else in the gateway
knows which one it has.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from gateway.replicas.contract import Contract
from inference import inference_pb2 as pb

T = TypeVar("T")


class Link(Protocol):
    """The way to a source's models."""

    @property
    def name(self) -> str:
        """The source's name, which is also its model's."""
        ...

    @property
    def contract(self) -> Contract | None:
        """What to write requests by; None before the first contact, then always something."""
        ...

    @property
    def width(self) -> int:
        """How many calls can be worked on at the same time; at least 1."""
        ...

    @property
    def stamp(self) -> tuple[object, ...]:
        """Changes whenever who answers, or whether anybody does, has changed."""
        ...

    def contract_for(self, version: str) -> Contract | None:
        """Return what a version takes and gives; None where it is not served."""
        ...

    def look_again(self) -> None:
        """Have the model described anew: other versions may be served by now."""
        ...

    def start(self) -> None:
        """Connect and describe in the background."""
        ...

    async def stop(self) -> None:
        """Cancel calls under way and close."""
        ...

    async def contacted(self) -> None:
        """Wait until the model has been described once."""
        ...

    async def infer(self, request: pb.ModelInferRequest, seconds: float) -> pb.ModelInferResponse:
        """Call ModelInfer within `seconds`; raises as `ask` does."""
        ...

    async def ask(
        self,
        request: pb.ModelInferRequest,
        seconds: float,
        read: Callable[[pb.ModelInferResponse], T],
        *,
        counted: bool = True,
    ) -> T:
        """Call ModelInfer within `seconds` and return what `read` makes of the answer.

        Raises ReplicaError where nobody can be asked, grpc.aio.AioRpcError or PlaitError
        where the call failed, and what `read` raises.
        """
        ...

    async def describe(self, model: str) -> Contract:
        """Ask what another model of the same source takes and gives; raises as `ask` does."""
        ...
