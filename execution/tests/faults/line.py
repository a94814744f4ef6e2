"""A TCP forwarder in front of a broker's port: what networks do to connections.

It works on loopback with plain sockets. What is not passed on waits *in front of* the broker, as it
would in a network; a client that has reset its connection by the time the line is back gets nothing
delivered, one that merely closed it does, as a kernel goes on sending what was written.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
import socket
import struct
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

CHUNK: Final = 65536
RESET: Final = struct.pack("ii", 1, 0)
TOKEN: Final = re.compile(rb"uthorization: (?:token [^:]+:|Bearer )(\S+)")
#: How a call that places an order begins, at Kite and at Noren.
PLACES: Final = (b"POST /orders/", b"POST /NorenWClientAPI/PlaceOrder")


class Mode(enum.StrEnum):
    """What the line does."""

    CLEAR = "clear"
    #: Nothing passes, either way, until the next mode; new connections are not taken.
    AWAY = "away"
    #: Connections that are open now are dead for good; new ones work.
    SILENT = "silent"
    #: What comes back leaves in pieces of ``size`` bytes.
    PIECES = "pieces"
    #: What comes back leaves ``size`` bytes every ``pause`` seconds.
    DRIP = "drip"
    #: The answer to an order is replaced by a reset.
    RESET = "reset"
    #: Half of an order's request reaches the broker, then the connection is reset.
    HALF = "half"
    #: Nobody listens.
    REFUSE = "refuse"
    #: The listener's queue is full: no SYN is answered.
    SWALLOW = "swallow"


@dataclass(slots=True, eq=False)
class _Way:
    client: socket.socket
    upstream: socket.socket
    peer: str
    #: A link that fell silent for good.
    dead: bool = False
    #: Whether the request under way places an order.
    placing: bool = False
    task: asyncio.Task[Any] | None = None

    def reset(self) -> None:
        """Its close will be a reset. Whoever reads from it is ended before that."""
        with contextlib.suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def close(self) -> None:
        for sock in (self.client, self.upstream):
            sock.close()


class Line:
    """Forwards to ``upstream`` (a loopback port) as the mode says."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self.port = 0
        self.mode = Mode.CLEAR
        self._size, self._pause = 10, 0.0
        self._left: int | None = None
        self._late = 0.0
        #: Source addresses by access token, of every request that carries one.
        self.peers: dict[str, set[str]] = defaultdict(set)
        self._changed = asyncio.Event()
        self._ways: set[_Way] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._fillers: list[socket.socket] = []
        self._accepting: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Listen."""
        self._listen(4096)

    async def stop(self) -> None:
        """Close everything."""
        self._unlisten()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for way in list(self._ways):
            way.close()

    def set(
        self,
        mode: Mode,
        *,
        size: int = 10,
        pause: float = 0.0,
        count: int | None = None,
        late: float = 0.0,
    ) -> None:
        """From now on. ``count``: how many orders RESET and HALF strike. ``late``: seconds until
        what was held back arrives, for a kernel waits longer and longer between its tries."""
        before, self.mode, self._late = self.mode, mode, late
        self._size, self._pause, self._left = size, pause, count
        if mode is Mode.SILENT:
            for way in self._ways:
                way.dead = True
        closed = (Mode.REFUSE, Mode.SWALLOW)
        if mode in closed or before in closed:
            self._unlisten()
            if mode is Mode.SWALLOW:
                self._fill()
            elif mode is not Mode.REFUSE:
                self._listen(4096)
        if mode in closed:
            for way in self._ways:
                way.reset()
                if way.task is not None:
                    way.task.cancel()
        self._changed.set()
        self._changed = asyncio.Event()

    # -- listening ---------------------------------------------------------------------------
    def _listen(self, backlog: int) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(backlog)
        self.port = listener.getsockname()[1]
        self._listener = listener
        if backlog:
            self._accepting = self._spawn(self._accept(listener))

    def _unlisten(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()  # before its socket is closed, and the number given away
            self._accepting = None
        for sock in (*self._fillers, self._listener):
            if sock is not None:
                sock.close()
        self._fillers, self._listener = [], None

    def _fill(self) -> None:
        self._listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._passing(None)
            try:
                client, (peer, _) = await loop.sock_accept(listener)
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._spawn(self._serve(client, peer))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- forwarding --------------------------------------------------------------------------
    async def _serve(self, client: socket.socket, peer: str) -> None:
        upstream = socket.socket()
        for sock in (client, upstream):
            sock.setblocking(False)
        way = _Way(client, upstream, peer, task=asyncio.current_task())
        try:
            await self._passing(None)
            await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", self._upstream))
            self._ways.add(way)
            pumps = {asyncio.create_task(self._there(way)), asyncio.create_task(self._back(way))}
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            self._ways.discard(way)
            way.close()

    async def _passing(self, way: _Way | None) -> None:
        """Wait until bytes pass again."""
        while self.mode is Mode.AWAY or (way is not None and way.dead):
            await self._changed.wait()

    async def _there(self, way: _Way) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(way.client, CHUNK):
            for token in TOKEN.findall(data):
                self.peers[token.decode()].add(way.peer)
            held = self.mode is Mode.AWAY or way.dead
            await self._passing(way)
            if held:
                await asyncio.sleep(self._late)
            if held and way.client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return  # reset meanwhile: its bytes died with it
            way.placing = data.startswith(PLACES)
            if way.placing and self.mode is Mode.HALF and self._strikes():
                await loop.sock_sendall(way.upstream, data[: len(data) // 2])
                way.reset()
                return
            await loop.sock_sendall(way.upstream, data)

    async def _back(self, way: _Way) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(way.upstream, CHUNK):
            await self._passing(way)
            if way.placing and self.mode is Mode.RESET and self._strikes():
                way.reset()
                return
            step = self._size if self.mode in (Mode.PIECES, Mode.DRIP) else len(data)
            for number, start in enumerate(range(0, len(data), step)):
                await self._passing(way)
                await loop.sock_sendall(way.client, data[start : start + step])
                if self.mode is Mode.DRIP:
                    await asyncio.sleep(self._pause)
                elif self.mode is Mode.PIECES and number < 64:
                    await asyncio.sleep(0.0005)  # so that they are read one by one

    def _strikes(self) -> bool:
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0
