"""A source whose models live in the gateway's own process.

Requests and answers are the same messages as over the wire, without the wire: one
code path, so the same answers. For small shops and tests; what it gives up is that
a model can be deployed, scaled and broken on its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.replicas.contract import Contract, widths_of
from inference import inference_pb2 as pb
from services.runtime.errors import DeadlineExceeded, as_told
from services.runtime.health import Health
from services.runtime.hosting import Host, Limits
from services.runtime.inference_service import infer
from services.runtime.source import Source

T = TypeVar("T")


class EmbeddedLink:
    """The models of one source, loaded here. See gateway.link.Link."""

    def __init__(
        self,
        source: Source,
        repository: Path,
        limits: Limits,
        *,
        version: int | None = None,
        beside: Sequence[int] = (),
    ) -> None:
        """`version` None: what was served last, or the newest."""
        self.name = source.name
        self.width = 1
        self._versions = version, tuple(beside)
        # The gateway's own health says whether it serves; these models are a part of it.
        self._host = Host(source, repository, limits, Health())
        self._contracts: dict[tuple[str, int], Contract] = {}

    async def load(self) -> None:
        """Load, prove and warm up; raises ArtifactError."""
        await self._host.start(*self._versions)

    @property
    def contract(self) -> Contract | None:
        """What the default version takes and gives."""
        return self._contract(self.name)

    @property
    def stamp(self) -> tuple[object, ...]:
        """The versions that are loaded."""
        return tuple(self._host.versions(self.name))

    def contract_for(self, version: str) -> Contract | None:
        """Return what a version takes and gives; None where it is not loaded."""
        known = version in map(str, self._host.versions(self.name))
        return self._contract(self.name, version) if known else None

    def _contract(self, model: str, version: str = "") -> Contract:
        served = self._host.get(model, version).model
        contract = self._contracts.get((model, served.version))
        if contract is None:
            contract = self._contracts[model, served.version] = Contract(
                str(served.version),
                frozenset(tensor.name for tensor in served.inputs),
                frozenset(tensor.name for tensor in served.outputs),
                widths_of((tensor.name, tensor.shape) for tensor in served.inputs),
            )
        return contract

    def look_again(self) -> None:
        """Do nothing: what is loaded here is always known."""

    def start(self) -> None:
        """Do nothing: `load` comes before."""

    async def stop(self) -> None:
        """Finish accepted calls and end the engines."""
        await self._host.close()

    async def contacted(self) -> None:
        """Return at once."""

    async def infer(self, request: pb.ModelInferRequest, seconds: float) -> pb.ModelInferResponse:
        """Answer one batch within `seconds`; raises PlaitError."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout(seconds):
                return await infer(self._host, request, deadline)
        except TimeoutError:
            raise DeadlineExceeded("no answer within the deadline") from None
        except Exception as error:  # a server would answer INTERNAL, which one row may have caused
            raise as_told(error, f"{request.model_name} within the gateway") from None

    async def ask(
        self,
        request: pb.ModelInferRequest,
        seconds: float,
        read: Callable[[pb.ModelInferResponse], T],
        *,
        counted: bool = True,
    ) -> T:
        """As `infer`, and return what `read` makes of the answer; there is nobody to blame."""
        del counted
        return read(await self.infer(request, seconds))

    async def describe(self, model: str) -> Contract:
        """Return what another model of the same artifact takes and gives; raises PlaitError."""
        return self._contract(model)
