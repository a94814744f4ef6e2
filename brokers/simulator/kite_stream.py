"""Kite's websocket: prices as binary packets, orders as text.

Source: https://kite.trade/docs/connect/v3/websocket/.

The URL contains ``api_key`` and ``access_token``; without a login the answer is 403. A connection
carries 3,000 instruments, an application has three connections per login. A single byte is the
heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from aiohttp import WSMsgType, web

from brokers.simulator import kite_views as views
from brokers.simulator.book import Order
from brokers.simulator.contracts import UNDERLYINGS, Contract
from brokers.simulator.exchange import Exchange
from brokers.simulator.market import TICK_SECONDS
from brokers.simulator.order_news import OrderNews
from brokers.simulator.sessions import ZERODHA, Login
from brokers.simulator.tape import last_trade

PATH: Final = "/"
MOST: Final = 3000
CONNECTIONS: Final = 3
MODES: Final = ("ltp", "quote", "full")
HEARTBEAT: Final = b"\x00"
#: Ticks without a change after which the heartbeat is sent: a second.
HEARTBEAT_TICKS: Final = 5
DEPTH: Final = 5
PAISA: Final = Decimal("0.01")


class KiteStream:
    """Serves every connection of the Kite port's websocket."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._open: set[web.WebSocketResponse] = set()
        self._connections: Counter[tuple[str, str]] = Counter()
        self._news = OrderNews(exchange, ZERODHA, _update)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One connection, to its end."""
        login = self._login(request)
        if login is None:
            return web.Response(status=403)
        key = login.api_key, login.client_id
        if self._connections[key] >= CONNECTIONS:
            return web.Response(status=429)
        self._connections[key] += 1
        socket = web.WebSocketResponse(max_msg_size=256 * 1024, autoping=False)
        news = self._news.listen(login.client_id)
        modes: dict[int, str] = {}
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.prepare(request)
            self._open.add(socket)
            tasks = [
                asyncio.create_task(self._tick(socket, modes)),
                asyncio.create_task(self._send_updates(socket, news)),
            ]
            async for message in socket:
                if self.exchange.manner.updates == "dead":
                    continue
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    self._handle(_object(message.data), modes)
        finally:
            self._connections[key] -= 1
            self._news.leave(login.client_id, news)
            self._open.discard(socket)
            for task in tasks:
                task.cancel()
        return socket

    async def close(self) -> None:
        """End every connection."""
        for socket in list(self._open):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await socket.close()

    def _login(self, request: web.BaseRequest) -> Login | None:
        token = request.query.get("access_token", "")
        login = self.exchange.sessions.check(ZERODHA, token, self.exchange.now())
        return login if login and login.api_key == request.query.get("api_key") else None

    def _handle(self, said: dict[str, Any], modes: dict[int, str]) -> None:
        """Subscribed without a mode means ``quote``; instruments beyond 3,000 are dropped."""
        value = said.get("v")
        match said.get("a"):
            case "subscribe":
                for token in _tokens(value):
                    if len(modes) < MOST:
                        modes.setdefault(token, "quote")
            case "unsubscribe":
                for token in _tokens(value):
                    modes.pop(token, None)
            case "mode" if isinstance(value, list) and len(value) == 2 and value[0] in MODES:
                modes |= {token: value[0] for token in _tokens(value[1]) if token in modes}

    async def _send_updates(
        self, socket: web.WebSocketResponse, news: asyncio.Queue[dict[str, Any]]
    ) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                row = await news.get()
                await socket.send_str(json.dumps(row, default=float))

    async def _tick(self, socket: web.WebSocketResponse, modes: dict[int, str]) -> None:
        sent: dict[int, bytes] = {}
        quiet = 0
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                dead = self.exchange.manner.updates == "dead"
                changed = [] if dead else list(self._changed(modes, sent))
                quiet = 0 if changed else quiet + 1
                if changed:
                    await socket.send_bytes(_message(changed))
                elif quiet >= HEARTBEAT_TICKS and not dead:
                    quiet = 0
                    await socket.send_bytes(HEARTBEAT)
                await asyncio.sleep(TICK_SECONDS)

    def _changed(self, modes: dict[int, str], sent: dict[int, bytes]) -> Iterator[bytes]:
        """Packets that differ from the last ones; a new subscription gets its first one now."""
        for dropped in sent.keys() - modes.keys():
            del sent[dropped]
        is_open = self.exchange.market.is_open(self.exchange.now())
        for token, mode in list(modes.items()):
            if token in sent and not is_open:
                continue
            update = packet(self.exchange, token, mode)
            if update is not None and sent.get(token) != update:
                sent[token] = update
                yield update


def packet(exchange: Exchange, token: int, mode: str) -> bytes | None:
    """One instrument's packet, None for an unknown one."""
    t = exchange.market.market_time(exchange.now())
    for name, underlying in UNDERLYINGS.items():
        if underlying.kite_token == token:
            last = paise(views.index_level(exchange, name, t))
            if mode == "ltp":
                return struct.pack(">Ii", token, last)
            index = struct.pack(">I6i", token, last, last, last, last, last, 0)
            return index if mode == "quote" else index + struct.pack(">i", int(t))
    contract = exchange.contracts.by_token.get(token >> 8)
    if contract is None or contract.kite_token != token:
        return None
    return _contract(exchange, contract, mode, t)


def _contract(exchange: Exchange, contract: Contract, mode: str, t: float) -> bytes:
    quote = exchange.market.quote(contract, t)
    trade = last_trade(exchange, contract, t)
    last, lot = paise(trade.price), contract.lot_size
    if mode == "ltp":
        return struct.pack(">Ii", contract.kite_token, last)
    ohlc = exchange.market.ohlc(contract, t)
    prices = (paise(price) for price in (ohlc.open, ohlc.high, ohlc.low, ohlc.close))
    average = last if trade.today else 0
    head = struct.pack(
        ">I10i",
        *(contract.kite_token, last, lot, average, trade.volume, lot * 900, lot * 850),
        *prices,
    )
    if mode == "quote":
        return head
    times = struct.pack(
        ">5i", int(trade.at.timestamp()), lot * 20000, lot * 21000, lot * 18000, int(t)
    )
    levels = b"".join(
        struct.pack(">iihxx", lot * (k + 2) if price > 0 else 0, max(paise(price), 0), 3)
        for prices in (
            [quote.bid - contract.tick * k for k in range(DEPTH)],
            [quote.ask + contract.tick * k for k in range(DEPTH)],
        )
        for k, price in enumerate(prices)
    )
    return head + times + levels


def _message(packets: list[bytes]) -> bytes:
    parts = (struct.pack(">H", len(part)) + part for part in packets)
    return struct.pack(">H", len(packets)) + b"".join(parts)


def paise(rupees: Decimal) -> int:
    """Whole paise; half a paisa, which no tick has, is rounded to the even one."""
    return int(rupees.quantize(PAISA).scaleb(2))


def _update(order: Order) -> dict[str, Any]:
    row = views.order(order) | {"user_id": order.call.client_id, "unfilled_quantity": order.pending}
    if order.just_changed:
        row["status"] = "UPDATE"
    return {"type": "order", "id": "", "data": row}


def _tokens(value: object) -> list[int]:
    return [t for t in value if isinstance(t, int)] if isinstance(value, list) else []


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
