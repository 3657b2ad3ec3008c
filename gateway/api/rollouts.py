"""The operators' service: who is answered by which version, and by which fusion.

The API knows no callers' rights, and a storefront must not be able to move its
shoppers to another model. So by default only callers on this machine are heard
(`kubectl port-forward` and `kubectl exec` are), see the setting `rollouts`.
"""

# gRPC names the methods.
# ruff: noqa: N802

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import grpc

from gateway.rollouts.canaries import Canaries
from gateway.rollouts.canary import Canary
from gateway.rollouts.fusion import FusionVersions
from plait.v1 import rollout_service_pb2 as pb
from services.runtime.errors import FailedPrecondition, InvalidArgument, PermissionDenied

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
ANYONE, LOOPBACK, OFF = "anyone", "loopback", "off"
_LOCAL = ("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")
_LONGEST = 32


class RolledOut(Protocol):
    """The parts of the gateway that this service changes."""

    @property
    def canaries(self) -> Canaries:
        """The canaries of model versions."""
        ...

    @property
    def fusion(self) -> FusionVersions:
        """The version of the fusion artifact."""
        ...


class RolloutServicer:
    """Canaries, and the version of the fusion artifact."""

    DESCRIPTOR = pb.DESCRIPTOR.services_by_name["RolloutService"]

    def __init__(self, parts: Callable[[], RolledOut], allowed: str) -> None:
        """`allowed`: ANYONE, LOOPBACK or OFF."""
        self._parts = parts
        self._allowed = allowed

    async def GetRollouts(
        self, request: pb.GetRolloutsRequest, context: _Context
    ) -> pb.GetRolloutsResponse:
        """What is rolled out to whom."""
        del request
        self._check_caller(context)
        parts = self._parts()
        return pb.GetRolloutsResponse(
            canaries=map(_canary, parts.canaries.running), fusion=_fusion(parts.fusion)
        )

    async def SetCanary(
        self, request: pb.SetCanaryRequest, context: _Context
    ) -> pb.SetCanaryResponse:
        """Have one version of a source answer a share of the shoppers."""
        self._check_caller(context)
        if not 1 <= len(request.model_version) <= _LONGEST:
            raise InvalidArgument("model_version", f"required, at most {_LONGEST} characters")
        if not (math.isfinite(request.share) and 0 < request.share <= 100):
            raise InvalidArgument("share", f"must lie above 0 and up to 100, is {request.share!r}")
        canary = await self._parts().canaries.start(
            request.source, request.model_version, request.share
        )
        return pb.SetCanaryResponse(canary=_canary(canary))

    async def EndCanary(
        self, request: pb.EndCanaryRequest, context: _Context
    ) -> pb.EndCanaryResponse:
        """Have the default version answer everybody again."""
        self._check_caller(context)
        ended = await self._parts().canaries.end(request.source)
        return pb.EndCanaryResponse(canary=None if ended is None else _canary(ended))

    async def LoadFusion(
        self, request: pb.LoadFusionRequest, context: _Context
    ) -> pb.LoadFusionResponse:
        """Change the version of the fusion artifact without a restart."""
        self._check_caller(context)
        if request.version < 0:
            raise InvalidArgument("version", f"must not be negative, is {request.version}")
        fusion = self._parts().fusion
        if request.previous:
            await fusion.roll_back()
        else:
            await fusion.load(request.version or None)
        return pb.LoadFusionResponse(fusion=_fusion(fusion))

    def _check_caller(self, context: _Context) -> None:
        if self._allowed == OFF:
            raise FailedPrecondition(
                "rollouts are switched off at this gateway (setting rollouts); deploy instead"
            )
        if self._allowed == LOOPBACK and not str(context.peer()).startswith(_LOCAL):
            raise PermissionDenied(
                "rollouts are changed from the gateway's own machine only (setting rollouts): "
                "go there, or forward its port"
            )


def _canary(canary: Canary) -> pb.Canary:
    made = pb.Canary(
        source=canary.source,
        model_version=canary.version,
        share=canary.share,
        salt=canary.salt,
    )
    made.create_time.FromMilliseconds(canary.created_ms)
    return made


def _fusion(fusion: FusionVersions) -> pb.Fusion:
    return pb.Fusion(version=fusion.version, previous_version=fusion.previous or 0)
