"""A simulated broker whose clock and event loop the test drives by hand."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlencode

from brokers.simulator.contracts import Contract
from brokers.simulator.control import ControlWire
from brokers.simulator.exchange import Exchange, Settings
from brokers.simulator.kite import KiteWire
from brokers.simulator.noren import NorenWire
from brokers.simulator.wire import FORM, Answer, Call, Handler

#: A Tuesday (NIFTY expiry), 10:00 IST.
TEN_O_CLOCK = dt.datetime(2026, 8, 18, 4, 30, tzinfo=dt.UTC)
API_KEY = "apikey"


@dataclass
class HandLoop:
    """An event loop whose timers fire when the test says so."""

    timers: list[tuple[Callable[..., None], tuple[Any, ...]]] = field(default_factory=list)

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> None:
        """Remember the timer."""
        self.timers.append((callback, args))

    def run(self) -> None:
        """Let every timer go off, in order."""
        while self.timers:
            callback, args = self.timers.pop(0)
            callback(*args)


class DrivenSimulator:
    """The exchange with its three ports. ``now`` may be set or moved."""

    def __init__(self, settings: Settings | None = None, now: dt.datetime = TEN_O_CLOCK) -> None:
        self.now = now
        self.exchange = Exchange(settings or Settings(), lambda: self.now)
        self.loop = HandLoop()
        self.exchange.loop = cast(asyncio.AbstractEventLoop, self.loop)
        self.kite_wire = KiteWire(self.exchange)
        self.noren_wire = NorenWire(self.exchange)
        self.control_wire = ControlWire(self.exchange)
        self.tokens: dict[tuple[str, str], str] = {}

    def forward(self, seconds: float) -> None:
        """Move the clock and match orders that are due."""
        self.now += dt.timedelta(seconds=seconds)
        self.loop.run()

    def send(
        self,
        wire: Handler,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request straight into a wire."""
        route, _, query = path.partition("?")
        return wire(Call(method, route, query, headers or {}, body, self.now))

    # -- Kite --------------------------------------------------------------------------------
    def kite(
        self, method: str, path: str, client_id: str = "AB1234", **form: object
    ) -> tuple[int, Any]:
        """A Kite call as a logged-in client; a ``form`` makes the body."""
        token = self.token("zerodha", client_id)
        headers = {"Authorization": f"token {API_KEY}:{token}", "Content-Type": FORM}
        body = urlencode(form).encode()
        answer = self.send(self.kite_wire, method, path, body, headers)
        return answer.status, json.loads(answer.body)

    def kite_place(self, client_id: str = "AB1234", **changes: object) -> tuple[int, Any]:
        """Place one order; by default buy a lot of the at-the-money call at the ask."""
        form = {
            "exchange": "NFO",
            "tradingsymbol": self.atm().kite_symbol,
            "transaction_type": "BUY",
            "quantity": 65,
            "product": "MIS",
            "order_type": "LIMIT",
            "price": self.exchange.quote(self.atm()).ask,
            "validity": "DAY",
            "tag": "Q0001",
        } | changes
        return self.kite("POST", "/orders/regular", client_id, **form)

    # -- Noren -------------------------------------------------------------------------------
    def noren(self, operation: str, client_id: str = "Z56004", **fields: str) -> tuple[int, Any]:
        """A Noren call as a logged-in client."""
        token = self.token("zebu", client_id)
        body = "jData=" + json.dumps({"uid": client_id, "actid": client_id} | fields)
        headers = {"Authorization": f"Bearer {token}"}
        path = f"/NorenWClientAPI/{operation}"
        answer = self.send(self.noren_wire, "POST", path, body.encode(), headers)
        return answer.status, json.loads(answer.body)

    def noren_place(self, client_id: str = "Z56004", **changes: str) -> tuple[int, Any]:
        """Place one order; by default buy a lot of the at-the-money call at the ask."""
        fields = {
            "exch": "NFO",
            "tsym": self.atm().noren_symbol,
            "qty": "65",
            "prc": str(self.exchange.quote(self.atm()).ask),
            "prd": "I",
            "trantype": "B",
            "prctyp": "LMT",
            "ret": "DAY",
            "remarks": "Q0001",
        } | changes
        return self.noren("PlaceOrder", client_id, **fields)

    # -- both --------------------------------------------------------------------------------
    def control(self, method: str, path: str, **arguments: object) -> tuple[int, Any]:
        """A call of the control port."""
        body = json.dumps(arguments).encode() if arguments else b""
        answer = self.send(self.control_wire, method, path, body)
        return answer.status, json.loads(answer.body)

    def token(self, broker: str, client_id: str) -> str:
        """The client's access token; logs in when first asked."""
        key = (broker, client_id)
        if key not in self.tokens:
            login = self.exchange.sessions.open(broker, API_KEY, client_id, self.now)
            self.tokens[key] = login.token
        return self.tokens[key]

    def atm(self, kind: str = "CE") -> Contract:
        """NIFTY contract of the nearest expiry, nearest the money."""
        spot = self.exchange.spots()["NIFTY"]
        listed = self.exchange.contracts.contracts
        return min(
            (c for c in listed if c.kind == kind and c.underlying == "NIFTY"),
            key=lambda c: (c.expiry, abs(c.strike - spot)),
        )

    def resting_price(self) -> Decimal:
        """A limit that the band allows and the market does not reach by itself, for a buy."""
        return self.exchange.quote(self.atm()).ask - 10
