"""The states of runs, executions and orders, and the sets of states that rules use. Pure.

Each set is defined once, here: the models' choices, rules, queries, SQL text and partial indexes
take it from here. A test compares it with what the migrations wrote into the database.
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

#: Executions with a position, as far as we know.
HOLDING: Final = (OPEN, EXITING)
#: Executions that an executor works on: entering, holding or leaving a position.
WORKING: Final = (COMMITTED, *HOLDING)
#: Executions that are not over.
LIVE: Final = (ARMED, *WORKING)
#: Executions that should have entered and did not.
LOST: Final = (FAILED, MISSED)
#: Executions that are over.
TERMINAL: Final = (WITHDRAWN, CLOSED, *LOST)
#: Rare states of executions: the console's list finds them by an index.
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

#: Orders that need not have been sent even once.
UNSENT: Final = (PLANNED, MISSED)
#: Orders of which it is unknown whether the broker has them.
UNCERTAIN: Final = (SENDING, UNKNOWN)
#: Working orders: the broker has them, and they are not over.
AT_BROKER: Final = (ACCEPTED, PARTIAL)
#: Orders that may rest at the broker: its book is read for them.
MAY_REST: Final = (UNKNOWN, *AT_BROKER)
#: Orders that may be at the broker: its book, not ours, has their outcome.
SENT: Final = (*UNCERTAIN, *AT_BROKER)
#: Orders that may have traded more than has been reported.
UNREPORTED: Final = (*SENT, ESCALATED)
#: Orders that are over.
FINAL: Final = (FILLED, REJECTED, CANCELLED, MISSED, ESCALATED)
#: Rare states of orders: the usual path is planned, sending, accepted, filled.
RARE_ORDERS: Final = (UNKNOWN, PARTIAL, REJECTED, CANCELLED, MISSED, ESCALATED)
