"""The states of runs, executions and orders, and the sets of them that rules speak of. Pure.

Each set stands here once: the models' choices, rules, queries, SQL text and partial indexes take
it from here. What migrations have written into the database is compared with it by a test.
"""

from __future__ import annotations

from typing import Final

# -- runs and executions -------------------------------------------------------------------------
ARMED: Final = "ARMED"
ENTERED: Final = "ENTERED"
WITHDRAWN: Final = "WITHDRAWN"
COMMITTED: Final = "COMMITTED"
OPEN: Final = "OPEN"
EXITING: Final = "EXITING"
CLOSED: Final = "CLOSED"
FAILED: Final = "FAILED"
MISSED: Final = "MISSED"

#: Runs that are over.
OVER: Final = (CLOSED, MISSED)

#: Executions with a position, as far as anybody knows.
HOLDING: Final = (OPEN, EXITING)
#: Executions that an executor works on: entering, holding or leaving a position.
WORKING: Final = (COMMITTED, *HOLDING)
#: Executions that are not over.
LIVE: Final = (ARMED, *WORKING)
#: Executions that should have entered and did not.
LOST: Final = (FAILED, MISSED)
#: Executions that are over.
TERMINAL: Final = (WITHDRAWN, CLOSED, *LOST)
#: Executions of which there are few: the console's list finds them by an index.
RARE_EXECUTIONS: Final = (WITHDRAWN, *LOST)

# -- orders --------------------------------------------------------------------------------------
ENTRY: Final = "ENTRY"
EXIT: Final = "EXIT"
UNWIND: Final = "UNWIND"

PLANNED: Final = "PLANNED"
SENDING: Final = "SENDING"
UNKNOWN: Final = "UNKNOWN"
ACCEPTED: Final = "ACCEPTED"
PARTIAL: Final = "PARTIAL"
FILLED: Final = "FILLED"
REJECTED: Final = "REJECTED"
CANCELLED: Final = "CANCELLED"
ESCALATED: Final = "ESCALATED"

#: Orders in which a send need not be counted: none of them has to have left.
UNSENT: Final = (PLANNED, MISSED)
#: Orders of which nobody can say whether the broker has them.
UNCERTAIN: Final = (SENDING, UNKNOWN)
#: Orders that the broker has, and that are not over.
AT_BROKER: Final = (ACCEPTED, PARTIAL)
#: Orders that may rest at the broker: its book is asked for them.
MAY_REST: Final = (UNKNOWN, *AT_BROKER)
#: Orders that may be at the broker: what became of them stands in its book, and not here.
SENT: Final = (*UNCERTAIN, *AT_BROKER)
#: Orders that may have traded, and not all of it has been told.
UNTOLD: Final = (*SENT, ESCALATED)
#: Orders that are over.
FINAL: Final = (FILLED, REJECTED, CANCELLED, MISSED, ESCALATED)
#: Orders of which there are few: the usual way is planned, sending, accepted, filled.
RARE_ORDERS: Final = (UNKNOWN, PARTIAL, REJECTED, CANCELLED, MISSED, ESCALATED)
