"""How much two strategies of one real account may close, while what is known of it moves."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from brokers.base import BookState, BrokerInstrument, OrderReport, Product, Side
from execution import lifecycle
from execution.state import LiveExecution, LiveIntent
from execution.tests.inmemory import LOT, live_execution, live_intent, report
from execution.tests.parts import Parts
from execution.witnesses import net_of_orders

NOW = 1000.0
NAME = BrokerInstrument("NFO", "NIFTY", "1")


def row(intent: LiveIntent, filled: int) -> OrderReport:
    """An order of ours in the book."""
    state = BookState.FILLED if filled == intent.quantity else BookState.OPEN
    return dataclasses.replace(
        report(intent, state, filled),
        symbol=NAME.symbol,
        exchange=NAME.exchange,
        product=Product.INTRADAY,
    )


def by_hand(side: Side, units: int, number: int = 1) -> OrderReport:
    """Somebody else's order."""
    shown = row(live_intent(side=side, quantity=units), units)
    return dataclasses.replace(shown, tag="", broker_order_id=f"H{number}")


class Account:
    """One real account: a strategy has sold a contract, another one has bought it, in two rows."""

    def __init__(self) -> None:
        self.parts = Parts(names=SimpleNamespace(of=lambda broker, contract_id: NAME))
        self.short = self._strategy(1, Side.SELL)
        self.long = self._strategy(2, Side.BUY)

    def _strategy(self, account_id: int, side: Side) -> LiveExecution:
        execution = live_execution(status="OPEN", account_id=account_id)
        actor = self.parts.actors.of(execution.real, account_id)
        actor.executions[execution.id] = execution
        self.trade(execution, side, LOT)
        return execution

    def trade(self, execution: LiveExecution, side: Side, filled: int, **fields: Any) -> LiveIntent:
        """An order of a strategy, and what has been heard of its fills."""
        state = lifecycle.FILLED if filled == LOT else lifecycle.ACCEPTED
        known = {"state": state, "filled_quantity": filled, "sent_mono": NOW, "side": side}
        intent = live_intent(execution, account_id=execution.account_id, **{**known, **fields})
        self.parts.actors.of(execution.real, execution.account_id).hold(intent)
        return intent

    def book(self) -> list[OrderReport]:
        """The whole book as it is now."""
        return [
            row(intent, intent.filled_quantity)
            for execution in (self.short, self.long)
            for intent in execution.intents
        ]

    def allowed(self, book: list[OrderReport]) -> dict[str, int]:
        """Units that each strategy may close by this book; positions have not answered."""
        shared = self.parts.witnesses._share(
            self.parts.actors.of(self.short.real, 1), 1, None, book
        )
        names = {self.short.id: "short", self.long.id: "long"}
        return {
            names[execution_id]: grant.units
            for (execution_id, _), grant in shared.items()
            if grant is not None and grant.units
        }


def test_two_opposite_strategies_may_both_leave_whole() -> None:
    account = Account()
    assert account.allowed(account.book()) == {"short": LOT, "long": LOT}


@pytest.mark.parametrize("listed", [True, False], ids=["not filled in it", "not in it"])
def test_an_exit_since_the_book_was_somebody_elses_trade(listed: bool) -> None:
    """Seen: the other strategy's exit filled while the book was being read. The first one's
    position was taken for closed outside, and stayed open."""
    account = Account()
    exit_order = account.trade(account.long, Side.SELL, 0, purpose=lifecycle.EXIT)
    book = account.book() if listed else account.book()[:-1]
    exit_order.state, exit_order.filled_quantity = lifecycle.FILLED, LOT
    assert account.allowed(book) == {"short": LOT}


def test_a_trade_by_hand_is_believed_whoever_left_meanwhile() -> None:
    account = Account()
    book = [*account.book(), by_hand(Side.BUY, LOT)]
    exit_order = account.trade(account.long, Side.SELL, 0, purpose=lifecycle.EXIT)
    exit_order.state, exit_order.filled_quantity = lifecycle.FILLED, LOT
    assert account.allowed(book) == {}, "the customer has bought back what was sold"


def test_an_order_made_larger_counts_as_the_broker_says() -> None:
    """The customer made the order larger at the broker."""
    account = Account()
    sold = account.short.intents[0]
    larger = dataclasses.replace(row(sold, LOT), quantity=3 * LOT, filled_quantity=3 * LOT)
    assert net_of_orders([larger], NAME, [sold]) == -3 * LOT


def test_each_order_counts_once() -> None:
    """What is over counts as the book says. Some brokers list every state of an order; executions
    that are over are forgotten."""
    account = Account()
    over = live_intent(side=Side.SELL)
    shown = [*account.book(), *account.book(), row(over, LOT), by_hand(Side.BUY, 2 * LOT)]
    known = [*account.short.intents, *account.long.intents]
    assert net_of_orders(shown, NAME, known) == LOT


def test_another_processs_order_counts_only_when_listed() -> None:
    """After a restart the book alone says what of yesterday's or of a predecessor's is there."""
    account = Account()
    sold = account.short.intents[0]
    sold.sent_mono = 0.0
    assert net_of_orders([], NAME, [sold]) == 0
    assert net_of_orders([row(sold, LOT)], NAME, [sold]) == -LOT
