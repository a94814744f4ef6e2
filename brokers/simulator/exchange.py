"""The simulated brokers: contracts of the day, market, book, sessions and faults together.

Wire modules turn bytes into calls of this class and its answers into bytes. Everything runs on one
event loop; nothing here awaits, so every call is atomic.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from brokers.simulator import rules
from brokers.simulator.book import Book, Order, PlaceCall
from brokers.simulator.contracts import UNDERLYINGS, Contract, ContractList, generate
from brokers.simulator.facts import Facts
from brokers.simulator.faults import Fault, Faults, Kind
from brokers.simulator.limits import ORDERS, PLACED, PLAYED, Gate, Limits
from brokers.simulator.market import TICK_SECONDS, Market, Quote
from brokers.simulator.messages import rejection_words
from brokers.simulator.rules import Reason, Refusal
from brokers.simulator.sessions import ZERODHA, Sessions
from quantleap.core import clock

MATCH_DELAY_FIRST: Final = 0.010
MATCH_DELAY_SPREAD: Final = 21

FAULT_REASONS: Final = {
    Kind.RATE_LIMIT: Reason.RATE_LIMIT,
    Kind.HTML_502: Reason.BROKER_DOWN,
    Kind.REFUSE: Reason.BROKER_DOWN,
    Kind.SAY: Reason.BROKER_DOWN,
    Kind.EXPIRED_SESSION: Reason.SESSION_EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The simulator's settings. ``default_funds`` in rupees; ``limits`` per client."""

    seed: int = 1
    facts: Facts = field(default_factory=Facts)
    default_funds: Decimal = Decimal(1_000_000_000)
    limits: Limits = field(default_factory=Limits)
    redirect_url: str = "http://127.0.0.1:8000/broker-login/done"


@dataclass(frozen=True, slots=True)
class Placed:
    """The result of a place call: an order or a refusal, and the fault that struck it."""

    order: Order | None = None
    refusal: Refusal | None = None
    fault: Fault | None = None


@dataclass(slots=True)
class Manner:
    """The form of answers where the brokers' documents and programs know several.

    ``login``: Noren's token answer. The documented ones name no owner and give ``expires_in`` as a
    time (``until``) or in seconds (``seconds``); the official SDK reads an ``owner``. ``history``:
    order books list every state of an order, not only its last. ``updates``: what the websockets
    send: everything as it happens (``told``), everything twice and the second time late
    (``twice``), nothing on a live connection (``silent``), or nothing at all, not even an answer to
    a ping (``dead``).
    """

    login: str = "until"
    history: bool = False
    updates: str = "told"


LOGIN_MANNERS: Final = ("until", "seconds", "owner")
UPDATE_MANNERS: Final = ("told", "twice", "silent", "dead")


class Exchange:
    """One exchange for all brokers. ``now`` is injectable for tests."""

    def __init__(self, settings: Settings, now: Callable[[], dt.datetime] = clock.now) -> None:
        self.settings = settings
        self.now = now
        self.market = Market(settings.seed, settings.facts)
        self.book = Book(settings.default_funds, _first_sequence(now()))
        self.sessions = Sessions(settings.redirect_url)
        self.faults = Faults()
        self.manner = Manner()
        #: Called with every order as it changes: the streams of connected clients.
        self.listeners: list[Callable[[Order], None]] = []
        self.book.changed = self._report
        self.refused: list[dict[str, Any]] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.gate = Gate(settings.limits)
        self._contracts = self._generate(clock.ist_date(now()))
        self._accepted = 0

    # -- the day -----------------------------------------------------------------------------
    @property
    def contracts(self) -> ContractList:
        """Today's contract list; the first call of a new day also clears the books."""
        today = clock.ist_date(self.now())
        if today != self._contracts.day:
            self._contracts = self._generate(today)
            self.book.roll_day()
        return self._contracts

    def contract(self, broker: str, symbol: str) -> Contract | None:
        """The contract whose name at ``broker`` is ``symbol``."""
        contracts = self.contracts
        names = contracts.by_kite_symbol if broker == ZERODHA else contracts.by_noren_symbol
        return names.get(symbol)

    def quote(self, contract: Contract) -> Quote:
        """Prices of a contract at the last market tick."""
        return self.market.quote(contract, self.market.market_time(self.now()))

    def spots(self) -> dict[str, float]:
        """Index levels in rupees at the last market tick."""
        t = self.market.market_time(self.now())
        return {name: self.market.spot(name, t) for name in UNDERLYINGS}

    # -- orders ------------------------------------------------------------------------------
    def place(self, call: PlaceCall) -> Placed:
        """Accept or refuse a call; an accepted order is matched 10 to 30 ms later."""
        now = self.now()
        throttled = self._throttled(call.broker, call.client_id, PLACED, call.received_at)
        if throttled is not None:
            return self.refuse(call, throttled)
        fault = self.faults.strike(
            "place",
            now,
            broker=call.broker,
            client_id=call.client_id,
            tag=call.tag,
            symbol=call.symbol,
            side=call.side,
        )
        if fault is not None and fault.prevents_acceptance:
            return self.refuse(call, _fault_refusal(fault, call.exchange), fault)
        contract = self.contract(call.broker, call.symbol)
        if contract is None or call.exchange != contract.exchange:
            return self.refuse(call, Refusal(Reason.SYMBOL, {"symbol": call.symbol}), fault)
        refusal = rules.check_call(call, contract, market_open=self.market.is_open(now))
        if refusal is not None:
            return self.refuse(call, refusal, fault)
        return Placed(self._accept(call, contract, fault, now), None, fault)

    def refuse(self, call: PlaceCall, refusal: Refusal, fault: Fault | None = None) -> Placed:
        """Record a place call that never became an order."""
        self.refused.append(
            {
                "broker": call.broker,
                "client_id": call.client_id,
                "tag": call.tag,
                "symbol": call.symbol,
                "side": call.side,
                "quantity": call.quantity,
                "price": str(call.price),
                "cause": refusal.reason.cause,
                "reason": refusal.reason.value,
                "fault": fault.id if fault else None,
                "received_at": call.received_at.isoformat(timespec="microseconds"),
            }
        )
        return Placed(None, refusal, fault)

    def throttle(self, broker: str, client_id: str, kind: str, at: dt.datetime) -> Refusal | None:
        """Count a call against the broker's limits; returns the refusal of one too many."""
        breach = self.gate.admit(broker, client_id, kind, at)
        if breach is None:
            return None
        facts = {"received": breach.received, "window": breach.window, "limit": breach.limit}
        return Refusal(Reason.RATE_LIMIT, facts)

    def cancel(self, broker: str, client_id: str, order_id: str, at: dt.datetime) -> Placed:
        """Cancel an order; a refusal OTHER if it does not exist or is final."""
        throttled = self._throttled(broker, client_id, ORDERS, at)
        if throttled is not None:
            return Placed(refusal=throttled)
        order = self._visible(broker, client_id, order_id)
        if order is None or not self.book.cancel(order, self.now()):
            return Placed(order, Refusal(Reason.OTHER, {"found": order is not None}))
        return Placed(order)

    def modify(
        self,
        broker: str,
        client_id: str,
        order_id: str,
        at: dt.datetime,
        *,
        quantity: int | None,
        price: Decimal | None,
        trigger_price: Decimal | None,
        order_type: str | None,
    ) -> Placed:
        """Change an open order and match it again."""
        throttled = self._throttled(broker, client_id, ORDERS, at)
        if throttled is not None:
            return Placed(refusal=throttled)
        order = self._visible(broker, client_id, order_id)
        if order is None or order.status.is_final:
            return Placed(order, Refusal(Reason.OTHER, {"found": order is not None}))
        most = self.gate.limits.kite_changes_per_order
        if broker == ZERODHA and most and order.changes >= most:
            return Placed(order, Refusal(Reason.CHANGED_TOO_OFTEN))
        contract = order.contract
        if quantity is not None and (quantity <= 0 or quantity % contract.lot_size):
            return Placed(
                order, Refusal(Reason.LOT, {"lot": contract.lot_size, "quantity": quantity})
            )
        for value in (price, trigger_price or None):
            if value is not None and (value <= 0 or value % contract.tick):
                return Placed(order, Refusal(Reason.TICK, {"tick": contract.tick, "price": value}))
        if price is not None:
            outside = rules.outside_band(price, self.quote(contract))
            if outside is not None:
                return Placed(order, outside)
        changed = self.book.modify(
            order,
            now=self.now(),
            quantity=quantity,
            price=price,
            trigger_price=trigger_price,
            order_type=order_type,
        )
        if not changed:
            return Placed(order, Refusal(Reason.INVALID))
        self._later(order)
        return Placed(order)

    def tick(self) -> None:
        """One market tick: match resting orders; cancel them after the close."""
        now = self.now()
        if not self.market.is_open(now):
            for contract in self.book.resting_contracts():
                for order in self.book.resting(contract):
                    self.book.cancel(order, now)
            return
        for contract in self.book.resting_contracts():
            quote = self.quote(contract)
            for order in self.book.resting(contract):
                self.book.match(order, quote, now)

    async def run_ticks(self) -> None:
        """Tick for ever, every 200 ms."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()

    def reset(self, *, sessions: bool = False) -> None:
        """Empty books, no faults, initial market, funds and manner; logins too if asked."""
        self.book = Book(self.settings.default_funds, self.book.last_sequence)
        self.book.changed = self._report
        self.market.reset()
        self.faults.clear()
        self.manner = Manner()
        self.refused.clear()
        self.gate.clear()
        if sessions:
            self.sessions.clear()

    # -- inside ------------------------------------------------------------------------------
    def _report(self, order: Order) -> None:
        """Report a change to the streams, unless the book hides the order."""
        if order.visible_at <= self.now():
            for listener in self.listeners:
                listener(order)

    def _throttled(self, broker: str, client_id: str, kind: str, at: dt.datetime) -> Refusal | None:
        """Kite counts orders separately; Noren's calls were counted when they arrived."""
        return self.throttle(broker, client_id, kind, at) if broker == ZERODHA else None

    def _generate(self, day: dt.date) -> ContractList:
        facts = self.settings.facts
        return generate(day, facts.closed_days, freeze=facts.freeze_on(day))

    def _visible(self, broker: str, client_id: str, order_id: str) -> Order | None:
        order = self.book.find(broker, client_id, order_id)
        return order if order is not None and order.visible_at <= self.now() else None

    def _accept(
        self, call: PlaceCall, contract: Contract, fault: Fault | None, now: dt.datetime
    ) -> Order:
        price, order_type = call.price, call.order_type
        if order_type in ("MARKET", "SL-M"):
            price, _ = rules.protected_limit(call, self.quote(contract), contract.tick)
            order_type = "LIMIT" if order_type == "MARKET" else "SL"
        hidden = fault.params["seconds"] if fault and fault.kind is Kind.HIDE else 0
        order = self.book.accept(
            call,
            contract,
            price=price,
            order_type=order_type,
            now=now,
            visible_at=now + dt.timedelta(seconds=hidden),
        )
        if fault is not None:
            fault.hits[-1]["order_id"] = order.order_id
            if fault.kind is Kind.PARTIAL_FILL:
                lots = int(call.quantity // contract.lot_size * fault.params.get("fraction", 0.5))
                order.fill_cap = lots * contract.lot_size
        rejects = fault is not None and fault.kind is Kind.REJECT
        refusal = _fault_refusal(fault, call.exchange) if fault and rejects else None
        self._later(order, refusal)
        return order

    def _later(self, order: Order, refusal: Refusal | None = None) -> None:
        """Match the order after the time that it takes to the exchange and back."""
        self._accepted += 1
        delay = MATCH_DELAY_FIRST + self._accepted * 7919 % MATCH_DELAY_SPREAD / 1000
        loop = self.loop or asyncio.get_running_loop()
        loop.call_later(delay, self._arrive, order, refusal)

    def _arrive(self, order: Order, refusal: Refusal | None) -> None:
        call = order.call
        if self.book.find(call.broker, call.client_id, order.order_id) is not order:
            return  # the books were reset meanwhile
        if order.status.is_final:
            return
        now = self.now()
        quote = self.quote(order.contract)
        if refusal is None and not order.exchange_order_id:
            account = self.book.account(call.broker, call.client_id)
            refusal = rules.check_order(order, quote, account, self.spots())
        if refusal is not None:
            message, raw = rejection_words(order, refusal)
            self.book.reject(
                order, cause=refusal.reason.cause, message=message, raw_message=raw, now=now
            )
            return
        self.book.match(order, quote, now)


def _first_sequence(now: dt.datetime) -> int:
    """Milliseconds of the Indian day, so that ids after a restart are higher than earlier ones."""
    wall = now.astimezone(clock.IST)
    return ((wall.hour * 60 + wall.minute) * 60 + wall.second) * 1000 + wall.microsecond // 1000


def _fault_refusal(fault: Fault, exchange: str) -> Refusal:
    if fault.kind is not Kind.REJECT:
        said = {"message": fault.params["message"]} if fault.kind is Kind.SAY else {**PLAYED}
        return Refusal(FAULT_REASONS[fault.kind], said)
    facts: dict[str, object] = {"required": "95417.84", "available": "74251.80", "message": ""}
    facts |= {"exchange": exchange, **PLAYED}
    facts |= {k: str(v) for k, v in fault.params.items()}
    return Refusal(Reason(fault.params.get("cause", "OTHER")), facts)
