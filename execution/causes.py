"""Causes that the executor itself gives: why an order did not leave, or was not completed. Pure.

Brokers' causes are in :class:`brokers.base.Cause`, alarms in ``execution/alarms.py``, and what each
of them means for people is in ``execution/descriptions.py``.
"""

from __future__ import annotations

from typing import Final

from brokers.base import Cause

# -- why an entry was missed, or withdrawn -------------------------------------------------------
#: Its grace was over before it could leave.
GRACE_OVER: Final = "GRACE_OVER"
#: The kill switch is engaged for its template, or for all.
KILL_SWITCH: Final = "KILL_SWITCH"
#: The kill switch could not be read.
CONTROL_UNREACHABLE: Final = "CONTROL_UNREACHABLE"
#: No connection to the broker, or no answer that proves anything.
BROKER_DOWN: Final = str(Cause.BROKER_DOWN)
#: The account has no session at the broker.
SESSION_EXPIRED: Final = str(Cause.SESSION_EXPIRED)
#: Another leg failed.
LEG_FAILED: Final = "LEG_FAILED"
#: The exit of its own leg was decided: not a failure.
LEG_EXIT: Final = "LEG_EXIT"
#: The run's exit was due.
EXIT_DUE: Final = "EXIT_DUE"
#: Somebody asked for the execution's exit.
EXIT_REQUESTED: Final = "EXIT_REQUESTED"

# -- why an exit was not sent --------------------------------------------------------------------
#: The read that it was granted by is too old.
SUPERSEDED: Final = "SUPERSEDED"
#: What its leg holds is being closed by other orders, or is closed.
NOT_NEEDED: Final = "NOT_NEEDED"

# -- why an order does not leave now; none of them is stored as an order's cause ------------------
#: It is not due yet.
EARLY: Final = "EARLY"
#: Another one of our own orders is in its way.
WAITS: Final = "WAITS"
#: The order, or its execution, is over.
STALE: Final = "STALE"
#: Its shard may be another executor's.
FENCED: Final = "FENCED"
