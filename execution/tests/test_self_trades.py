"""Two strategies of one account, opposite in one contract: who waits, how long, and what then."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from brokers.base import Side
from execution import lifecycle
from execution.alarms import SELF_TRADE
from execution.causes import WAITS
from execution.engine.orders.self_trades import HELD_AT_MOST, PATIENCE
from execution.send_gate import GRANT_SECONDS
from execution.state import LiveExecution, LiveIntent
from execution.tests import wire
from execution.tests.inmemory import live_execution, live_intent
from execution.tests.parts import Parts

NOW = 1000.0


class Account:
    """One real account with two strategies: one sells a contract, the other one buys it."""

    def __init__(self, **fields: Any) -> None:
        self.now = NOW
        self.cancelled: list[LiveIntent] = []
        self.told: list[tuple[int, str]] = []
        self.parts = Parts(
            cancels=SimpleNamespace(begin=self._cancel),
            work=SimpleNamespace(alarm=lambda *said: self.told.append(said)),
        )
        self.seller, self.buyer = self._strategy(), self._strategy(account_id=2)
        values = {"state": lifecycle.ACCEPTED, "broker_order_id": "1", "sent_mono": NOW}
        self.resting = self._order(self.seller, **{**values, **fields})
        self.desk = self.parts.self_trades

    def _strategy(self, **fields: Any) -> LiveExecution:
        execution = live_execution(status="OPEN", **fields)
        self.parts.day.adopt([execution])
        return execution

    def _order(self, execution: LiveExecution, **fields: Any) -> LiveIntent:
        intent = live_intent(execution, account_id=execution.account_id, **fields)
        self.parts.day.hold(intent)
        return intent

    def _cancel(self, _execution: LiveExecution, intent: LiveIntent) -> None:
        intent.cancel_sent_mono = self.now
        self.cancelled.append(intent)

    def buys(self, purpose: str) -> LiveIntent:
        """The other strategy, by the other row of the same account, wants the other side."""
        return self._order(
            self.buyer,
            purpose=purpose,
            side=Side.BUY,
            price=Decimal(103),
            state=lifecycle.SENDING,
        )

    def ask(self, intent: LiveIntent, after: float) -> str:
        """What the desk says so many seconds later, asked as often as a channel asks."""
        asked, self.now = 0.0, NOW
        answer = ""
        while asked <= after:
            self.now = NOW + asked
            answer = self.desk.why_wait(self.buyer, intent, self.now)
            asked += 0.25
        return answer


def test_an_entry_waits_for_the_other_strategys_order() -> None:
    """The cause is named when the grace is over."""
    account = Account()
    purchase = account.buys(lifecycle.ENTRY)
    assert account.ask(purchase, HELD_AT_MOST + PATIENCE) == WAITS
    assert account.desk.is_waiting(account.buyer, purchase)
    assert (account.cancelled, account.told) == ([], [])


@pytest.mark.parametrize("end", sorted(lifecycle.FINAL))
def test_what_waited_leaves_as_soon_as_the_other_order_is_final(end: str) -> None:
    account = Account()
    purchase = account.buys(lifecycle.EXIT)
    assert account.ask(purchase, 0) == WAITS
    account.resting.state = end
    assert account.ask(purchase, 0) == ""
    assert not account.desk.is_waiting(account.buyer, purchase)


def test_an_exit_has_a_resting_entry_withdrawn() -> None:
    """An exit never waits for ever."""
    account = Account()
    purchase = account.buys(lifecycle.EXIT)
    assert account.ask(purchase, PATIENCE - 0.25) == WAITS
    assert account.cancelled == []
    assert account.ask(purchase, PATIENCE) == WAITS
    assert account.cancelled == [account.resting], "leaving goes before entering"
    assert account.ask(purchase, HELD_AT_MOST) == ""
    assert account.told == [(account.buyer.id, SELF_TRADE)]
    assert HELD_AT_MOST < GRANT_SECONDS, "what was known of the account is good until then"


@pytest.mark.parametrize(
    "fields",
    [{"purpose": lifecycle.EXIT}, {"state": lifecycle.UNKNOWN}, {"state": lifecycle.SENDING}],
    ids=["an exit", "unknown", "on its way"],
)
def test_what_is_no_resting_entry_is_waited_for(fields: Any) -> None:
    """An exit is quoted again by its own rule, and what is not known to rest cannot be
    cancelled."""
    account = Account(**fields)
    purchase = account.buys(lifecycle.EXIT)
    assert account.ask(purchase, HELD_AT_MOST - 0.25) == WAITS
    assert account.cancelled == []


def test_a_wait_that_ended_otherwise_does_not_count() -> None:
    """The next try begins a wait of its own."""
    account = Account()
    first = account.buys(lifecycle.EXIT)
    assert account.ask(first, HELD_AT_MOST - 0.25) == WAITS
    first.state = lifecycle.MISSED
    account.cancelled.clear()
    later = account.buys(lifecycle.EXIT)
    assert account.desk.why_wait(account.buyer, later, NOW + 60) == WAITS
    assert (account.cancelled, account.told) == ([], [])


def test_nobody_is_compared_where_nothing_else_is_at_work() -> None:
    """The order is alone in its contract."""
    account = Account(contract_id=2)
    assert account.ask(account.buys(lifecycle.ENTRY), 0) == ""


# -- in the channel -------------------------------------------------------------------------------
def test_an_order_that_waits_keeps_nothing_behind_it_back() -> None:
    """Judged by the order in which they came in at the broker."""

    async def main() -> tuple[list[str], bool, bool]:
        async with wire.broker(lambda request, before: wire.reply(b"{}")) as (url, seen):
            told = wire.Told()
            channel = wire.channel(url, told)
            intents = [wire.sending(channel, slice=number) for number in range(3)]
            waiting = {intents[0].code}
            channel._why_not_send = lambda intent, now: WAITS if intent.code in waiting else ""
            await channel.warm_up(1)
            for intent in intents:
                channel.load(intent)
            channel.drain()
            await told.until(lambda told: len(told.answers) == 2)
            held, busy = channel.holds(intents[0]), channel.is_waiting
            waiting.clear()
            await told.until(lambda told: len(told.answers) == 3)
            channel.close()
            codes = [
                next(i.code for i in intents if i.tag.encode() in request) for _, request in seen
            ]
            return [str([i.code for i in intents].index(code)) for code in codes], held, busy

    assert asyncio.run(main()) == (["1", "2", "0"], True, False)


def test_what_waits_when_a_session_ends_is_given_back() -> None:
    async def main() -> list[tuple[LiveIntent, str, str]]:
        async with wire.broker(lambda request, before: wire.reply(b"{}")) as (url, _):
            told = wire.Told()
            channel = wire.channel(url, told)
            channel._why_not_send = lambda intent, now: WAITS
            await channel.warm_up(1)
            for number in range(2):
                channel.submit(wire.sending(channel, slice=number))
            channel.retire()
            return told.not_sent

    assert [(intent.slice, reason) for intent, reason, _ in asyncio.run(main())] == [
        (0, "BROKER_DOWN"),
        (1, "BROKER_DOWN"),
    ]
