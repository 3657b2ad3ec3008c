"""Is a process there and ready: grpc.health.v1, asked briefly."""

from typing import Literal

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

Health = Literal["serving", "not serving", "down"]
_OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


def health(address: str, name: str = "", timeout: float = 1.0) -> Health:
    """Ask the server at HOST:PORT how it is, or what it has of a name.

    "down" where no health service answers, or none that knows the name.
    """
    # A channel of its own each time: a shared one would wait out its reconnect
    # backoff and report a server that is up by now as down.
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=timeout)
        except grpc.RpcError:
            return "down"
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return "serving" if serving else "not serving"
