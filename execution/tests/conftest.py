"""Settings of this room's property tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No deadline: a slow machine is not a wrong rule.
settings.register_profile("execution", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("execution")
