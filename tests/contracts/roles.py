"""The five serving roles: their processes, configuration classes and modules."""

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Role:
    """One process of the running system."""

    name: str
    # What `python -m` is given.
    module: str
    # Where its configuration class is defined.
    config_at: str

    @property
    def config_class(self) -> Any:
        """Return the dataclass that services.runtime.config.load fills."""
        module, _, name = self.config_at.partition(":")
        return getattr(importlib.import_module(module), name)

    @property
    def ports(self) -> tuple[int, int]:
        """Return the default gRPC and metrics ports."""
        config = self.config_class()
        return config.port, config.metrics_port


SOURCES = ("cf", "content", "sequence", "text")
ROLES = {
    "gateway": Role("gateway", "gateway", "gateway.config:GatewayConfig"),
    **{s: Role(s, f"services.{s}", f"services.{s}.server:Config") for s in SOURCES},
}
