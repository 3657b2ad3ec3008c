"""The gateway as the commands see it: one channel, the public services, readable failures."""

from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from cli.failures import readable
from plait.v1.catalog_service_pb2_grpc import CatalogServiceStub
from plait.v1.event_service_pb2_grpc import EventServiceStub
from plait.v1.profile_service_pb2_grpc import ProfileServiceStub
from plait.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from plait.v1.rollout_service_pb2_grpc import RolloutServiceStub

DEFAULT_GATEWAY = "127.0.0.1:50050"
DEFAULT_TIMEOUT = 10.0
Reply = TypeVar("Reply", bound=Message)


class Gateway:
    """A connection to a gateway; use as a context manager.

    `timeout` is the deadline of each call in seconds.
    """

    def __init__(self, address: str = DEFAULT_GATEWAY, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.address = address
        self.timeout = timeout
        # A machine-wide HTTP proxy must not stand between the command and a local gateway, nor
        # gRPC's own bound between a person and an answer.
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=options)
        self.recommendations = RecommendationServiceStub(self._channel)
        self.events = EventServiceStub(self._channel)
        self.catalog = CatalogServiceStub(self._channel)
        self.profiles = ProfileServiceStub(self._channel)
        self.rollouts = RolloutServiceStub(self._channel)

    def call(self, method: Callable[..., Reply], request: Message) -> Reply:
        """Call a method of one of the stubs; raises UserError saying what to do."""
        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise readable(error, self.address) from None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
