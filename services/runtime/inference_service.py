"""The Open Inference Protocol v2 over a host of models.

A ModelInfer call is read, checked, queued, computed and answered, in this order;
nothing is computed for a request that will be refused. Triton's, KServe's and
their clients' habits are kept where the protocol is silent: an empty version
means the default one, and no requested outputs means all of them.
"""

# The protocol names the methods, and every one gets a request and a context.
# ruff: noqa: N802, ARG002

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc

from artifacts.errors import ArtifactError, ArtifactMissing
from inference import inference_pb2 as pb
from inference import inference_pb2_grpc
from services.runtime import validation
from services.runtime.errors import FailedPrecondition, InvalidArgument, NotFound
from services.runtime.health import Health
from services.runtime.hosting import Host
from services.runtime.tensors import TIMEOUT, write_response

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
PLATFORM = "onnxruntime_onnx"
_PREVIOUS = "previous"
_LONGEST_VERSION = 20
# gRPC reports "no deadline" as a time in the far future.
_NO_DEADLINE_SECONDS = 3600.0 * 24
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class InferenceService(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Serves the models of `host`; `identity` is the server's name and release."""

    def __init__(
        self, host: Host, health: Health, *, identity: tuple[str, str], model_control: bool
    ) -> None:
        self._host = host
        self._health = health
        self._name, self._release = identity
        self._model_control = model_control

    async def ServerLive(
        self, request: pb.ServerLiveRequest, context: _Context
    ) -> pb.ServerLiveResponse:
        """Answer at all, also while loading."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(
        self, request: pb.ServerReadyRequest, context: _Context
    ) -> pb.ServerReadyResponse:
        """Say whether every model is served."""
        return pb.ServerReadyResponse(ready=self._health.ready())

    async def ModelReady(
        self, request: pb.ModelReadyRequest, context: _Context
    ) -> pb.ModelReadyResponse:
        """Say whether one model is served; unknown ones are not."""
        return pb.ModelReadyResponse(ready=self._host.ready(request.name, request.version))

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: _Context
    ) -> pb.ServerMetadataResponse:
        """Name the server and the protocol's extensions it has."""
        return pb.ServerMetadataResponse(
            name=self._name, version=self._release, extensions=["model_repository"]
        )

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: _Context
    ) -> pb.ModelMetadataResponse:
        """Describe the tensors of a version as its manifest declares them, and list the versions.

        The default version is the last of the list.
        """
        model = self._host.get(request.name, request.version).model
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=request.name,
            versions=[str(version) for version in self._host.versions(request.name)],
            platform=PLATFORM,
            inputs=[tensor(name=s.name, datatype=s.datatype, shape=s.shape) for s in model.inputs],
            outputs=[
                tensor(name=s.name, datatype=s.datatype, shape=s.shape) for s in model.outputs
            ],
        )

    async def ModelInfer(
        self, request: pb.ModelInferRequest, context: _Context
    ) -> pb.ModelInferResponse:
        """Answer one batch."""
        return await infer(self._host, request, _deadline(context))

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: _Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Answer one batch after the other; see the protocol."""
        async for request in request_iterator:
            answer = await infer(self._host, request, _timeout(request))
            yield pb.ModelStreamInferResponse(infer_response=answer)

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: _Context
    ) -> pb.RepositoryIndexResponse:
        """List the versions in the repository."""
        entry = pb.RepositoryIndexResponse.ModelIndex
        with _refused():
            listed = await self._host.index()
        return pb.RepositoryIndexResponse(
            models=[
                entry(name=m.name, version=m.version, state=m.state, reason=m.reason)
                for m in listed
                if m.state == "READY" or not request.ready
            ]
        )

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: _Context
    ) -> pb.RepositoryModelLoadResponse:
        """Load the newest version, or the one the parameter `version` names.

        It takes the default's place; with the parameter `beside` it is served to those
        who name it. `version` "previous" is what was the default before. Models that come
        from the same artifact are loaded with it.
        """
        self._allow_change()
        self._host.known(request.model_name)
        given = _parameters(request.parameters, "version", "beside")
        with _refused():
            if given.get("version") == _PREVIOUS:
                await self._host.roll_back()
            else:
                await self._host.load(
                    _version(given.get("version")), beside=_flag("beside", given.get("beside"))
                )
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: _Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Stop serving one model, or the version that the parameter `version` names."""
        self._allow_change()
        # Triton's clients always say what to do with dependents; here there are none.
        given = _parameters(request.parameters, "version", "unload_dependents")
        await self._host.unload(request.model_name, _version(given.get("version")))
        return pb.RepositoryModelUnloadResponse()

    def _allow_change(self) -> None:
        if not self._model_control:
            raise FailedPrecondition(
                "loading and unloading are switched off here (model_control); "
                "deploy the version instead"
            )


@contextmanager
def _refused() -> Iterator[None]:
    """Tell callers what is with the repository, or with a version in it."""
    try:
        yield
    except ArtifactMissing as error:
        raise NotFound(str(error)) from None
    except ArtifactError as error:
        raise FailedPrecondition(str(error)) from None


async def infer(
    host: Host, request: pb.ModelInferRequest, deadline: float
) -> pb.ModelInferResponse:
    """Answer one batch by `deadline`, in the event loop's time; raises PlaitError."""
    batcher = host.get(request.model_name, request.model_version)
    model = batcher.model
    inputs = validation.read_request(request, model.inputs, host.limits.max_batch_rows)
    question = model.read(inputs, request.parameters)
    wanted = validation.check_outputs([o.name for o in request.outputs], question.answers)
    outputs = await batcher.submit(question, deadline)
    return write_response(
        request.model_name,
        str(model.version),
        request.id,
        {name: outputs[name] for name in wanted},
    )


def _deadline(context: _Context) -> float:
    """Return the caller's deadline in the event loop's time, infinity if there is none."""
    left = context.time_remaining()
    if left is None or left > _NO_DEADLINE_SECONDS:
        return float("inf")
    return asyncio.get_running_loop().time() + left


def _timeout(request: pb.ModelInferRequest) -> float:
    """Return when a message's caller gives up, as `_deadline` does."""
    if TIMEOUT not in request.parameters:
        return float("inf")
    given = request.parameters[TIMEOUT]
    if given.WhichOneof("parameter_choice") != "int64_param" or given.int64_param <= 0:
        raise InvalidArgument(TIMEOUT, "the parameter must be a positive int64, microseconds")
    return asyncio.get_running_loop().time() + given.int64_param / 1e6


def _parameters(
    given: Mapping[str, pb.ModelRepositoryParameter], *known: str
) -> dict[str, bool | int | str | bytes]:
    """Return the values of a request's parameters; raises InvalidArgument for unknown names."""
    for name in given:
        if name not in known:
            raise InvalidArgument(name, f"not a parameter here; there is {', '.join(known)}")
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
        for name, value in given.items()
    }


def _version(value: bool | int | str | bytes | None) -> int | None:
    if value is None:
        return None
    text = "" if isinstance(value, bool | bytes) else str(value)
    # Of thousands of digits Python makes no number.
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_VERSION and int(text)):
        raise InvalidArgument("version", "must be a positive whole number")
    return int(text)


def _flag(name: str, value: bool | int | str | bytes | None) -> bool:
    if value is not None and not isinstance(value, bool):
        raise InvalidArgument(name, "must be a bool_param, true or false")
    return bool(value)
