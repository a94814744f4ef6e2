"""Noren's websocket: touchlines and orders as they change. Sources: docs/brokers/adapters.md.

``a`` (or the older ``c``) logs in, ``t`` subscribes to touchlines, ``u`` unsubscribes, ``o``
subscribes to orders, ``h`` keeps the connection alive. Any other frame gets no answer, as on the
real server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Final

from aiohttp import WSMsgType, web

from brokers.simulator import noren_views as views
from brokers.simulator.book import Order
from brokers.simulator.exchange import Exchange
from brokers.simulator.market import TICK_SECONDS
from brokers.simulator.order_news import OrderNews
from brokers.simulator.sessions import ZEBU

PATH: Final = "/NorenWSAPI/"
#: Fields of a touchline; a change carries the changed ones and the time.
FIELDS: Final = ("lp", "c", "v", "oi", "bp1", "bq1", "sp1", "sq1")
WHOLE: Final = ("pp", "ls", "ti")

Row = dict[str, Any]


class NorenStream:
    """Serves every connection of the Noren port's websocket."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._open: set[web.WebSocketResponse] = set()
        self._news = OrderNews(exchange, ZEBU, _update)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One connection, to its end."""
        socket = web.WebSocketResponse(max_msg_size=256 * 1024, autoping=False)
        await socket.prepare(request)
        self._open.add(socket)
        last: dict[str, Row] = {}
        tasks: list[asyncio.Task[None]] = []
        client_id = ""
        try:
            async for message in socket:
                if self.exchange.manner.updates == "dead":
                    continue
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                if message.type is not WSMsgType.TEXT:
                    continue
                said = _object(message.data)
                if not tasks:
                    login = self._login(said)
                    await socket.send_json(login)
                    if login["s"] != "OK":
                        break
                    client_id = login["uid"].upper()
                    tasks.append(asyncio.create_task(self._tick(socket, last)))
                elif said.get("t") == "o" and len(tasks) == 1:
                    news = self._news.listen(client_id)
                    tasks.append(asyncio.create_task(self._send_updates(socket, client_id, news)))
                    await socket.send_json({"t": "ok"})
                else:
                    await self._handle(socket, said, last)
        finally:
            self._open.discard(socket)
            for task in tasks:
                task.cancel()
        return socket

    async def _send_updates(
        self, socket: web.WebSocketResponse, client_id: str, news: asyncio.Queue[Row]
    ) -> None:
        try:
            with contextlib.suppress(ConnectionError, RuntimeError):
                while True:
                    await socket.send_json(await news.get())
        finally:
            self._news.leave(client_id, news)

    async def close(self) -> None:
        """End every connection."""
        for socket in list(self._open):
            with contextlib.suppress(ConnectionError, RuntimeError):
                await socket.close()

    def _login(self, said: Row) -> Row:
        token = str(said.get("accesstoken") or said.get("susertoken") or "")
        login = self.exchange.sessions.check(ZEBU, token, self.exchange.now())
        kind = "ck" if said.get("t") == "c" else "ak"
        uid = str(said.get("uid", ""))
        known = login is not None and uid.upper() == login.client_id and said.get("t") in ("a", "c")
        return {"t": kind, "uid": uid, "s": "OK" if known else "NOT_OK"}

    async def _handle(self, socket: web.WebSocketResponse, said: Row, last: dict[str, Row]) -> None:
        names = [name for name in str(said.get("k", "")).split("#") if name]
        if said.get("t") == "t":
            for name in names:
                row = self._row(name)
                if row is None:
                    continue
                last[name] = row
                await socket.send_json({"t": "tk", **row})
        elif said.get("t") == "u":
            for name in names:
                last.pop(name, None)
            await socket.send_json({"t": "uk", "k": "#".join(names)})
        elif said.get("t") == "h":
            await socket.send_json({"t": "h"})

    async def _tick(self, socket: web.WebSocketResponse, last: dict[str, Row]) -> None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                await asyncio.sleep(TICK_SECONDS)
                if self.exchange.manner.updates == "dead" or not self.exchange.market.is_open(
                    self.exchange.now()
                ):
                    continue
                for name in list(last):
                    row, before = self._row(name), last.get(name)
                    if row is None or before is None:
                        continue
                    changed = {k: v for k, v in row.items() if v != before.get(k)}
                    if changed:
                        last[name] = row
                        head = {"t": "tf", "e": row["e"], "tk": row["tk"], "ft": row["ft"]}
                        await socket.send_json(head | changed)

    def _row(self, name: str) -> Row | None:
        exchange, _, token = name.partition("|")
        quote = views.quote(self.exchange, exchange, token)
        if quote is None:
            return None
        row: Row = {"e": exchange, "tk": token, "ts": quote["tsym"], "ft": quote["lut"]}
        return row | {field: quote[field] for field in (*WHOLE, *FIELDS) if field in quote}


def _update(order: Order) -> Row:
    return {"t": "om", **views.update(order)}


def _object(text: str) -> Row:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
