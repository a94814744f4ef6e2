"""A test account's channel: the paper book behind the same interface as a broker's.

It keeps I8 (test accounts never reach a broker).
No socket is opened: :class:`brokers.paper.adapter.PaperVenue` answers orders, cancels and reads in
this process. After a restart the book is rebuilt from our own rows; an order that had not been
accepted is absent, which the usual proof finds out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final

from brokers import transport_async
from brokers.base import (
    BookState,
    BrokerInstrument,
    HttpRequest,
    HttpResponse,
    OrderReport,
    OrderRequest,
    Product,
    QuoteRow,
    Session,
)
from brokers.pace import Pacer
from brokers.paper.adapter import PaperVenue
from brokers.real_account import RealAccount
from brokers.registry import get_adapter
from brokers.routes import Route
from brokers.transport_sync import Limits
from execution import lifecycle
from execution.causes import EARLY
from execution.engine.runtime.call_slots import CallSlots
from execution.engine.wire.channel import Channel, Shot
from execution.engine.wire.connection import Answer, Deadlines
from execution.state import LiveIntent, LiveRun
from execution.tags import make_tag
from marketplace.ports import Quote
from quantleap.core import clock

#: The broker kind (:mod:`brokers.registry`) of every execution in the test environment.
PAPER: Final = "paper"
_STATES: Final = {
    lifecycle.ACCEPTED: BookState.OPEN,
    lifecycle.PARTIAL: BookState.OPEN,
    lifecycle.FILLED: BookState.FILLED,
    lifecycle.CANCELLED: BookState.CANCELLED,
    lifecycle.REJECTED: BookState.REJECTED,
}
_NOWHERE: Final = Route("http://paper.invalid")
#: Reads quotes from the platform's feed; contracts that it does not know are left out.
Quotes = Callable[[Collection[int]], Awaitable[Mapping[int, Quote]]]


def paper_instrument(contract_id: int) -> BrokerInstrument:
    """The paper book's name of a contract, made from its id."""
    return BrokerInstrument("NFO", str(contract_id), str(contract_id))


class PaperChannel(Channel):
    """The channel of one test account: orders fill at the reference price, or rest until the feed's
    quotes reach their limit."""

    def __init__(
        self,
        *,
        account_id: int,
        real: RealAccount,
        shard: int,
        quotes: Quotes,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        slots: CallSlots,
        why_not_send: Callable[[LiveIntent, float], str],
        on_sent: Callable[[LiveIntent, float], None],
        on_answer: Callable[[LiveIntent, Answer], None],
        on_not_sent: Callable[[LiveIntent, str, str], None],
    ) -> None:
        adapter = get_adapter(PAPER)
        super().__init__(
            account_id=account_id,
            real=real,
            shard=shard,
            session=Session(real.client_id, PAPER, PAPER),
            adapter=adapter,
            route=_NOWHERE,
            pacer=Pacer(adapter.capabilities.windows),
            timeout=1.0,
            drop_after=1.0,
            slots=slots,
            loop=loop,
            deadlines=deadlines,
            why_not_send=why_not_send,
            on_sent=on_sent,
            on_answer=on_answer,
            on_not_sent=on_not_sent,
        )
        self._quotes = quotes
        self._marks: dict[str, QuoteRow] = {}
        self._venue = PaperVenue(lambda name: self._marks.get(name.symbol))
        self._book = self._venue.book(real.client_id)

    # -- after a restart -------------------------------------------------------------------------
    def restore(self, intents: Iterable[LiveIntent]) -> None:
        """Put orders into the book as our rows have them; known orders stay unchanged."""
        known = {report.broker_order_id for report in self._book.orders()}
        self._book.restore(
            (_order(intent), _report(intent, _STATES[intent.state]))
            for intent in intents
            if intent.broker_order_id
            and intent.broker_order_id not in known
            and intent.state in _STATES
        )

    # -- the interface of a broker's channel -----------------------------------------------------
    async def warm_up(self, connections: int = 1) -> bool:
        """True: there is nothing to connect to."""
        del connections
        return True

    def aim(self, run: LiveRun) -> Shot | None:
        """None: an order leaves when the queue is drained."""
        del run
        return None

    def _drain(self) -> None:
        while queue := self._exits or self._entries:
            intent, now = queue[0], clock.monotonic()
            reason = self._why_not_send(intent, now)
            if reason == EARLY:
                self._wake_at(now + max(0.0, intent.due_at.timestamp() - clock.timestamp()))
                return
            queue.popleft()
            if reason:
                self._on_not_sent(intent, reason, "")
            else:
                self._place(intent, now)

    def _place(self, intent: LiveIntent, now: float) -> None:
        price = intent.reference_price
        symbol = intent.instrument.symbol
        self._marks[symbol] = QuoteRow(
            symbol, last_price=price, bid=price, ask=price, at=clock.now()
        )
        _, _, body = intent.raw.partition(b"\r\n\r\n")
        self._on_sent(intent, now)
        response = self._venue.answer(HttpRequest("POST", "/paper/orders", {}, body))
        # Later, like any answer: the caller of drain must not be called back from within it.
        self._loop.call_soon(self._on_answer, intent, Answer(response=response, error="", at=now))

    async def fetch(
        self, clients: transport_async.Clients, request: HttpRequest, limits: Limits
    ) -> HttpResponse:
        """The book's answer, after updating prices from the feed if an order rests."""
        del clients, limits
        resting = {
            int(report.symbol) for report in self._book.orders() if not report.state.is_terminal
        }
        quotes = await self._quotes(resting) if resting else {}
        for contract_id, quote in quotes.items():
            self._marks[str(contract_id)] = QuoteRow(
                str(contract_id),
                last_price=quote.last,
                bid=quote.bid,
                ask=quote.ask,
                at=quote.at,
            )
        return self._venue.answer(request)


def _order(intent: LiveIntent) -> OrderRequest:
    return OrderRequest(
        tag=make_tag(intent.code, max(1, intent.sends)),
        instrument=paper_instrument(intent.contract_id),
        side=intent.side,
        quantity=intent.quantity,
        product=Product.INTRADAY,
        price=intent.price,
    )


def _report(intent: LiveIntent, state: BookState) -> OrderReport:
    name = paper_instrument(intent.contract_id)
    return OrderReport(
        broker_order_id=intent.broker_order_id,
        tag=make_tag(intent.code, max(1, intent.sends)),
        state=state,
        quantity=intent.quantity,
        filled_quantity=intent.filled_quantity,
        average_price=intent.average_price,
        symbol=name.symbol,
        exchange=name.exchange,
        side=intent.side,
        product=Product.INTRADAY,
    )
