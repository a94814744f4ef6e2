"""The only constructor of new order intents, for entries and exits alike. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from brokers.base import BrokerInstrument
from execution import lifecycle
from execution.plan import PlannedOrder
from execution.state import LiveExecution, LiveIntent
from execution.tags import make_tag, new_code

_NAMELESS: Final = BrokerInstrument("", "", "")


@dataclass(frozen=True, slots=True)
class Purpose:
    """What an order is for: an entry or an exit, the number of the exit's try, and its reason."""

    purpose: str
    attempt_group: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PriceOrigin:
    """The source of the reference price, and its age then in seconds (None: not known)."""

    source: str
    age: Decimal | None


ENTRY: Final = Purpose(lifecycle.ENTRY)


def planned_intent(
    execution: LiveExecution,
    order: PlannedOrder,
    purpose: Purpose,
    origin: PriceOrigin,
    *,
    instrument: BrokerInstrument | None,
    due_at: dt.datetime,
    now: dt.datetime,
    is_sending: bool,
) -> LiveIntent:
    """A new, unsent intent of ``execution`` with a fresh code.

    ``is_sending``: it is SENDING with its first send counted, because it leaves as soon as its row
    is committed. Otherwise it is PLANNED: provably not at the broker (docs/adr/0008).
    """
    code = new_code()
    return LiveIntent(
        code=code,
        tag=make_tag(code, 1),
        execution_id=execution.id,
        account_id=execution.account_id,
        shard=execution.shard,
        leg_key=order.leg_key,
        leg_index=order.leg_index,
        group=order.group,
        slice=order.slice,
        purpose=purpose.purpose,
        attempt_group=purpose.attempt_group,
        contract_id=order.contract_id,
        instrument=instrument or _NAMELESS,
        side=order.side,
        quantity=order.quantity,
        price=order.price,
        reference_price=order.reference_price,
        price_source=origin.source,
        price_age=origin.age,
        due_at=due_at,
        planned_at=now,
        reason=purpose.reason,
        state=lifecycle.SENDING if is_sending else lifecycle.PLANNED,
        sends=1 if is_sending else 0,
    )
