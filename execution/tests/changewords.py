"""What a broker answers to a change of a price."""

from __future__ import annotations

from brokers.base import Cause, Outcome, SendResult

MOST = 25
ACCEPTED = SendResult(Outcome.ACCEPTED, broker_order_id="B1")
REFUSES = SendResult(Outcome.REFUSED, cause=Cause.OTHER, message="being processed")
SILENT = SendResult(Outcome.UNKNOWN)
