"""The stand-in's process: the simulator's book, market and dialects behind a hostile shell.

``python -m execution.tests.faults.standin`` prints its ports as one line of JSON and serves until
its input ends. Clients are given the ports of the lines; the control port is the simulator's, with
three more calls (tricks, calls, line). docs/faults.md.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from aiohttp import web

from brokers.simulator import facts
from brokers.simulator.book import Order
from brokers.simulator.control import ControlError, ControlWire
from brokers.simulator.exchange import Exchange, Settings
from brokers.simulator.kite import KiteWire
from brokers.simulator.limits import Limits
from brokers.simulator.noren import BASE, NorenWire
from brokers.simulator.noren_stream import NorenStream
from brokers.simulator.rules import Reason, Refusal
from brokers.simulator.server import Ports, Simulator, limits
from brokers.simulator.wire import (
    Answer,
    Call,
    Handler,
    StampedServer,
    Upgrade,
    deliver,
    to_json,
)
from execution.tests.faults import tricks
from execution.tests.faults.line import Line, Mode
from execution.tests.faults.tricks import Kind, Trick

KITE_CHANGES: Final = {"POST": "place", "PUT": "modify", "DELETE": "cancel"}
NOREN_OPERATIONS: Final = {
    "PlaceOrder": "place",
    "CancelOrder": "cancel",
    "ModifyOrder": "modify",
    "OrderBook": "book",
    "TradeBook": "book",
    "SingleOrdHist": "book",
    "PositionBook": "positions",
    "GetQuotes": "quote",
}
#: How an answer leaves, beside what it says.
DELIVERIES: Final = (Kind.PIECES, Kind.INTERIM, Kind.TWIN)


class HostileExchange(Exchange):
    """The simulator's exchange with tricks, and a count of everybody's calls."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.tricks: list[Trick] = []
        self.calls: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._read_now = self.now

    def seen_from(self, call: Call, seconds: float, answer: Handler) -> Answer:
        """The answer as it would have been so many seconds ago. Nothing awaits meanwhile."""
        self.now = lambda: self._read_now() - dt.timedelta(seconds=seconds)
        try:
            return answer(call)
        finally:
            self.now = self._read_now

    def fill_now(self, client_id: str, broker: str, order_id: str, fraction: float) -> None:
        """That share of an order fills, in whole lots, whatever kept it from filling."""
        order = self.book.find(broker, client_id, order_id)
        if order is None:
            return
        lot = order.contract.lot_size
        order.fill_cap = int(order.quantity / lot * fraction) * lot
        self.book.match(order, self.quote(order.contract), self.now())

    def _arrive(self, order: Order, refusal: Refusal | None) -> None:
        """As the simulator, but for a band of a trick's."""
        call = order.call
        trick = tricks.first(
            self.tricks, "place", call.client_id, self.now().timestamp(), (Kind.BAND,)
        )
        if trick is not None and refusal is None:
            last = self.quote(order.contract).last
            width = last * Decimal(str(trick.params["percent"])) / 100
            low, high = last - width, last + width
            if not low <= order.price <= high:
                band = {"price": order.price, "low": f"{low:.2f}", "high": f"{high:.2f}"}
                refusal = Refusal(Reason.PRICE_BAND, band)
        super()._arrive(order, refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled(Answer):
    """An answer that is delivered in a trick's way."""

    trick: Trick

    @classmethod
    def of(cls, answer: Answer, trick: Trick) -> Spoiled:
        """``answer``, delivered so."""
        said = (answer.status, answer.body, answer.content_type, answer.headers, answer.fault)
        return cls(*said, trick=trick)


class Shell:
    """Stands before a broker's wire: who calls what, and which trick takes it."""

    def __init__(self, broker: str, exchange: HostileExchange, wire: Handler) -> None:
        self._broker, self._exchange, self._wire = broker, exchange, wire

    def __call__(self, call: Call) -> Answer:
        """One request in, one answer out."""
        exchange = self._exchange
        client_id, operation = self._who(call), self._what(call)
        now = exchange.now().timestamp()
        exchange.calls[client_id, operation].append(now)

        def trick(*kinds: Kind) -> Trick | None:
            return tricks.first(exchange.tricks, operation, client_id, now, kinds)

        if (struck := trick(Kind.BUSY)) is not None:
            return tricks.too_many(self._broker, struck.params)
        if (struck := trick(Kind.ANSWER)) is not None:
            if struck.params.get("after"):
                self._wire(call)
            return tricks.canned(struck.params)
        if trick(Kind.IDLE) is not None:
            return tricks.as_done(tricks.named_order(call, self._broker), self._broker)
        if (struck := trick(Kind.FILLS)) is not None:
            named = tricks.named_order(call, self._broker)
            fraction = float(struck.params["fraction"])
            exchange.fill_now(client_id, self._broker, named, fraction)
        stale = trick(Kind.STALE)
        answer = (
            exchange.seen_from(call, float(stale.params["seconds"]), self._wire)
            if stale is not None
            else self._wire(call)
        )
        if (struck := trick(Kind.EDIT)) is not None:
            answer = tricks.edited(answer, struck.params["field"], struck.params["value"])
        if (struck := trick(Kind.BULK)) is not None:
            answer = tricks.bulky(answer, float(struck.params["megabytes"]))
        struck = trick(*DELIVERIES)
        return answer if struck is None else Spoiled.of(answer, struck)

    def _what(self, call: Call) -> str:
        if self._broker == "zebu":
            return NOREN_OPERATIONS.get(call.path.removeprefix(BASE), "other")
        if call.path.startswith("/orders") and call.method in KITE_CHANGES:
            return KITE_CHANGES[call.method]
        if call.path.startswith(("/orders", "/trades")):
            return "book"
        if call.path == "/portfolio/positions":
            return "positions"
        return "quote" if call.path.startswith("/quote") else "other"

    def _who(self, call: Call) -> str:
        if self._broker == "zebu":
            try:
                head = call.body.decode().partition("&")[0]
                return str(json.loads(head.removeprefix("jData=")).get("uid", "")).upper()
            except (ValueError, AttributeError):
                return ""
        token = call.headers.get("Authorization", "").rpartition(":")[2]
        sessions = self._exchange.sessions
        login = sessions.check(self._broker, token, self._exchange.now())
        return login.client_id if login is not None else sessions.owner_of_dead(token)


class HostileServer(StampedServer):
    """HTTP that can be delivered badly."""

    async def deliver(self, answer: Answer, request: web.BaseRequest) -> web.StreamResponse:
        """As the trick says."""
        if not isinstance(answer, Spoiled):
            return await deliver(answer, request)
        trick, transport = answer.trick, request.transport
        if trick.kind is Kind.PIECES:
            return await self._in_pieces(answer, request, trick.params)
        if transport is not None and trick.kind is Kind.INTERIM:
            transport.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n")
        if transport is not None and trick.kind is Kind.TWIN:
            transport.write(2 * _raw(answer))  # the second one belongs to nobody
            await asyncio.sleep(0.2)
            request.protocol.force_close()
        return await deliver(answer, request)

    async def _in_pieces(
        self, answer: Answer, request: web.BaseRequest, params: Mapping[str, Any]
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            status=answer.status,
            headers={"Content-Type": answer.content_type, "Content-Length": str(len(answer.body))},
        )
        await response.prepare(request)
        size, pause = int(params.get("size", 10)), float(params.get("pause", 0.0))
        for number, start in enumerate(range(0, len(answer.body), size)):
            await response.write(answer.body[start : start + size])
            if pause or number < 64:
                await asyncio.sleep(pause or 0.0005)
        await response.write_eof()
        return response


def _raw(answer: Answer) -> bytes:
    head = f"HTTP/1.1 {answer.status} OK\r\nContent-Type: {answer.content_type}\r\n"
    return f"{head}Content-Length: {len(answer.body)}\r\n\r\n".encode() + answer.body


class HostileControl(ControlWire):
    """The simulator's control port with tricks, calls and lines."""

    def __init__(self, exchange: HostileExchange, lines: Mapping[str, Line]) -> None:
        super().__init__(exchange)
        self._hostile, self._lines = exchange, lines
        self._routes |= {
            ("POST", "/tricks"): self._trick,
            ("DELETE", "/tricks"): self._no_tricks,
            ("GET", "/calls"): self._calls,
            ("POST", "/line"): self._line,
            ("GET", "/peers"): self._peers,
        }

    def _trick(self, arguments: Mapping[str, Any]) -> object:
        try:
            self._hostile.tricks.append(tricks.understood(arguments))
        except tricks.TrickError as error:
            raise ControlError(str(error)) from None
        return {"tricks": len(self._hostile.tricks)}

    def _no_tricks(self, arguments: Mapping[str, Any]) -> object:
        """End the tricks on these clients, or all."""
        clients = frozenset(arguments.get("clients", ()))
        remaining = [t for t in self._hostile.tricks if clients and not t.clients & clients]
        self._hostile.tricks[:] = remaining
        return {"tricks": len(remaining)}

    def _calls(self, arguments: Mapping[str, Any]) -> object:
        """How many calls of each kind a client made, and the most in any second."""
        return {
            "calls": [
                {
                    "client_id": client_id,
                    "op": operation,
                    "count": len(stamps),
                    "peak": max(Counter(int(s) for s in stamps).values()),
                    "last": stamps[-1],
                }
                for (client_id, operation), stamps in self._hostile.calls.items()
            ]
        }

    def _peers(self, arguments: Mapping[str, Any]) -> object:
        """From which addresses each access token was used."""
        return {t: sorted(at) for line in self._lines.values() for t, at in line.peers.items()}

    def _line(self, arguments: Mapping[str, Any]) -> object:
        said = dict(arguments)
        broker, mode = said.pop("broker", None), Mode(said.pop("mode", "clear"))
        for name, line in self._lines.items():
            if broker in (None, name):
                line.set(mode, **said)
        return {name: line.mode for name, line in self._lines.items()}


class Standin(Simulator):
    """The simulator with a shell around both dialects and a line before each."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, Ports(0, 0, 0))
        self.exchange: HostileExchange = HostileExchange(settings)
        self._stream = NorenStream(self.exchange)
        self._lines: dict[str, Line] = {}  # by broker, from the start on

    def handlers(self) -> Mapping[str, Handler]:
        """Who answers at which port."""
        return {
            "control": HostileControl(self.exchange, self._lines),
            "kite": Shell("zerodha", self.exchange, KiteWire(self.exchange)),
            "noren": Shell("zebu", self.exchange, NorenWire(self.exchange)),
        }

    def server(self, handler: Handler, streams: Mapping[str, Upgrade]) -> StampedServer:
        """The HTTP below a handler."""
        return HostileServer(handler, self.exchange.now, streams)

    async def start(self) -> None:
        """Servers first, then the lines before them."""
        await super().start()
        for name, port in (("zerodha", self.ports.kite), ("zebu", self.ports.noren)):
            self._lines[name] = line = Line(port)
            await line.start()

    async def stop(self) -> None:
        """Lines first."""
        for line in self._lines.values():
            await line.stop()
        await super().stop()

    @property
    def printed_ports(self) -> dict[str, int]:
        """The ports, as the process prints them."""
        return {
            "control": self.ports.control,
            "zerodha": self._lines["zerodha"].port,
            "zebu": self._lines["zebu"].port,
        }


async def serve(settings: Settings) -> None:
    """Until standard input ends."""
    standin = Standin(settings)
    await standin.start()
    print(to_json(standin.printed_ports).decode(), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await standin.stop()


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=N")
    options = parser.parse_args(argv)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # cut requests are wanted here
    chosen: Limits = limits(options.limit)
    asyncio.run(serve(Settings(facts=facts.load(), limits=chosen)))


if __name__ == "__main__":
    main()
