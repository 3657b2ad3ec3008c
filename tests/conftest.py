"""What holds for all tests: no property is judged by the clock of a busy machine."""

from hypothesis import HealthCheck, settings

settings.register_profile("plait", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("plait")
