"""Keeps the orders of one real account from trading with each other.

Two strategies of one person may want opposite sides of one contract at the same second.
:func:`execution.send_gate.in_the_way` finds the orders in another order's way; this module decides
what to do. An entry waits as long as its grace lasts. An exit waits a moment for the other order to
fill; then an entry in its way is withdrawn, because exits have precedence; and after
:data:`HELD_AT_MOST` the exit leaves, an alarm is raised, and the exchange decides which of the two
it cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

import structlog

from execution import lifecycle
from execution.alarms import SELF_TRADE
from execution.backoff import cancel_backoff
from execution.causes import WAITS
from execution.engine.memory.trading_day import TradingDay
from execution.engine.memory.work_list import WorkList
from execution.engine.orders.cancels import Cancels
from execution.send_gate import in_the_way
from execution.state import LiveExecution, LiveIntent

log = structlog.get_logger(__name__)
#: Seconds after which the entry in an exit's way is withdrawn.
PATIENCE: Final = 1.0
#: Seconds after which an exit leaves in any case; less than its grant is valid.
HELD_AT_MOST: Final = 4.0
#: A wait that was not checked for this many seconds is over.
FORGOTTEN: Final = 1.0


class SelfTrades:
    """Remembers since when a leg has been waiting for another order of its own account."""

    def __init__(self, day: TradingDay, work: WorkList, cancels: Cancels) -> None:
        self._day = day
        self._actors = day.actors
        self._work = work
        self._cancels = cancels
        self._waits: dict[tuple[int, str], tuple[float, float]] = {}

    def why_wait(self, execution: LiveExecution, intent: LiveIntent, now_mono: float) -> str:
        """'' if ``intent`` may leave, WAITS while one of our own orders is in its way."""
        actor = self._actors.at(intent.account_id)
        beside = () if actor is None else actor.beside(intent)
        blocking = in_the_way(intent, beside) if beside else []
        key = execution.id, intent.leg_key
        if not blocking:
            if self._waits:
                self._waits.pop(key, None)
            return ""
        waited = now_mono - self._since(key, intent, blocking, now_mono)
        if intent.purpose == lifecycle.ENTRY:
            return WAITS
        if waited >= HELD_AT_MOST:
            self._work.alarm(execution.id, SELF_TRADE)
            return ""
        if waited >= PATIENCE:
            self._clear_the_way(blocking, now_mono)
        return WAITS

    def is_blocked_at(self, intent: LiveIntent, price: Decimal) -> bool:
        """Whether the resting ``intent`` would trade with an order of ours at ``price`` (rupees per
        unit)."""
        actor = self._actors.at(intent.account_id)
        beside = () if actor is None else actor.beside(intent)
        return bool(beside) and bool(in_the_way(replace(intent, price=price, changes=()), beside))

    def is_alone(self, intent: LiveIntent) -> bool:
        """Whether no unfinished order of the real account is on the other side in this contract."""
        actor = self._actors.at(intent.account_id)
        beside = () if actor is None else actor.beside(intent)
        return all(other.side is intent.side for other in beside)

    def is_waiting(self, execution: LiveExecution, intent: LiveIntent) -> bool:
        """Whether a leg's order is held back for this reason."""
        return (execution.id, intent.leg_key) in self._waits

    def _since(
        self,
        key: tuple[int, str],
        intent: LiveIntent,
        blocking: Sequence[LiveIntent],
        now_mono: float,
    ) -> float:
        since, asked = self._waits.get(key, (now_mono, -FORGOTTEN))
        if now_mono - asked >= FORGOTTEN:
            since = now_mono
            log.info(
                "order_waits_for_our_own",
                tag=intent.tag,
                account=intent.account_id,
                for_tags=[other.tag for other in blocking],
            )
        self._waits[key] = since, now_mono
        return since

    def _clear_the_way(self, blocking: Sequence[LiveIntent], now_mono: float) -> None:
        """Cancel resting entries; a resting exit gets a new price by its own rule."""
        for other in blocking:
            owner = self._day.executions.get(other.execution_id)
            waited = now_mono - other.cancel_sent_mono
            asked = other.cancel_sent_mono and waited <= cancel_backoff(other.cancels)
            if owner is None or asked or other.purpose != lifecycle.ENTRY:
                continue
            if other.state in lifecycle.AT_BROKER and other.broker_order_id:
                log.warning("entry_withdrawn_for_an_exit", tag=other.tag, account=other.account_id)
                self._cancels.begin(owner, other)
