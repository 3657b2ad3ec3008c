"""A gRPC channel to one server, not to a name: who gets a call is decided above it."""

import grpc

from gateway.replicas.settings import Settings

_MAX_MESSAGE = 64 << 20


def open_channel(target: str, settings: Settings) -> grpc.aio.Channel:
    """Open a channel to one address; it connects when first used, and again by itself."""
    return grpc.aio.insecure_channel(target, options=_options(settings))


def _options(settings: Settings) -> list[tuple[str, int | str]]:
    least, most = int(settings.reconnect_min * 1000), int(settings.reconnect_max * 1000)
    return [
        ("grpc.initial_reconnect_backoff_ms", least),
        ("grpc.max_reconnect_backoff_ms", max(least, most)),
        # How long one attempt may hang, for a host that is gone without a word.
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 3_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A retry hidden in the transport would spend the deadline without anyone knowing.
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        # A model server is never behind a web proxy.
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ("grpc.max_send_message_length", _MAX_MESSAGE),
    ]
