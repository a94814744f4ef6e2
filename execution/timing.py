"""Lead times and limits of the trading day, from the settings (docs/trading-day.md)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.conf import settings

from brokers.base import Capabilities


@dataclass(frozen=True, slots=True)
class Timing:
    """Lead times and limits in seconds; ``shards`` is a number of shards."""

    shards: int
    lease_ttl: float
    heartbeat: float
    arm_lead: float
    connect_lead: float
    resolve_lead: float
    commit_lead: float
    grace: float
    answer_timeout: float
    quote_age_entry: float
    quote_age_risk: float
    control_age: float
    visibility_delay: float | None

    @property
    def grace_delta(self) -> dt.timedelta:
        """The entry grace as a timedelta."""
        return dt.timedelta(seconds=self.grace)

    def visibility(self, capabilities: Capabilities) -> float:
        """Seconds after which an accepted order must be in the broker's book."""
        if self.visibility_delay is not None:
            return self.visibility_delay
        return float(capabilities.visibility_delay)


def from_settings() -> Timing:
    """The timing configured in the settings."""
    return Timing(
        shards=settings.QUANTLEAP_SHARDS,
        lease_ttl=settings.QUANTLEAP_LEASE_TTL,
        heartbeat=settings.QUANTLEAP_LEASE_HEARTBEAT,
        arm_lead=settings.QUANTLEAP_ARM_LEAD,
        connect_lead=settings.QUANTLEAP_CONNECT_LEAD,
        resolve_lead=settings.QUANTLEAP_RESOLVE_LEAD,
        commit_lead=settings.QUANTLEAP_COMMIT_LEAD,
        grace=settings.QUANTLEAP_ENTRY_GRACE,
        answer_timeout=settings.QUANTLEAP_ANSWER_TIMEOUT,
        quote_age_entry=settings.QUANTLEAP_QUOTE_MAX_AGE_ENTRY,
        quote_age_risk=settings.QUANTLEAP_QUOTE_MAX_AGE_RISK,
        control_age=settings.QUANTLEAP_CONTROL_MAX_AGE,
        visibility_delay=settings.QUANTLEAP_VISIBILITY_DELAY,
    )
