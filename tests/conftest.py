"""What holds for all tests: no property is judged by the clock of a busy machine."""

from grpc.aio import init_grpc_aio
from hypothesis import HealthCheck, settings

settings.register_profile("plait", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("plait")

# Held for all loops: else what is collected last joins gRPC's thread, which may wait for a call
# that a failed test has left open, and no later test runs.
init_grpc_aio()
