"""Who may change rollouts."""

from typing import Any

import pytest

from gateway.api.rollouts import RolloutServicer
from plait.v1 import rollout_service_pb2 as pb
from services.runtime.errors import PermissionDenied

NOTHING = pb.GetRolloutsResponse(fusion=pb.Fusion(version=3))


class Caller:
    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        return self._peer


class Nothing:
    class canaries:  # noqa: N801
        running = ()

    class fusion:  # noqa: N801
        version = 3
        previous = None


async def ask(peer: str, allowed: str) -> pb.GetRolloutsResponse:
    parts: Any = Nothing()
    context: Any = Caller(peer)
    servicer = RolloutServicer(lambda: parts, allowed)
    return await servicer.GetRollouts(pb.GetRolloutsRequest(), context)


@pytest.mark.parametrize(
    "peer", ["ipv4:127.0.0.1:5", "ipv4:127.0.0.9:5", "ipv6:[::1]:5", "ipv6:%5B::1%5D:5", "unix:"]
)
async def test_callers_on_the_same_machine_are_heard(peer: str) -> None:
    assert await ask(peer, "loopback") == NOTHING


@pytest.mark.parametrize(
    "peer", ["ipv4:10.0.0.7:5", "ipv4:12.7.0.1:5", "ipv6:[fe80::1]:5", "unknown", ""]
)
async def test_others_are_heard_only_where_the_settings_say_so(peer: str) -> None:
    with pytest.raises(PermissionDenied, match="the gateway's own machine only"):
        await ask(peer, "loopback")
    assert await ask(peer, "anyone") == NOTHING
