"""Order updates of the simulated brokers: every change of an order, for connected clients."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from brokers.simulator.book import Order
from brokers.simulator.exchange import Exchange

Row = dict[str, Any]
#: Seconds by which the second copy of a repeated update is late.
LATE: Final = 0.4


class OrderNews:
    """One broker's updates. ``view`` turns an order into the row that its stream carries."""

    def __init__(self, exchange: Exchange, broker: str, view: Callable[[Order], Row]) -> None:
        self.exchange = exchange
        self._broker = broker
        self._view = view
        self._listening: dict[str, set[asyncio.Queue[Row]]] = defaultdict(set)
        exchange.listeners.append(self._changed)

    def listen(self, client_id: str) -> asyncio.Queue[Row]:
        """A queue of a client's updates from now on."""
        queue: asyncio.Queue[Row] = asyncio.Queue()
        self._listening[client_id].add(queue)
        return queue

    def leave(self, client_id: str, queue: asyncio.Queue[Row]) -> None:
        """Stop sending to a queue."""
        self._listening[client_id].discard(queue)

    def _changed(self, order: Order) -> None:
        if order.call.broker != self._broker:
            return
        queues = self._listening.get(order.call.client_id, ())
        manner = self.exchange.manner.updates
        if not queues or manner in ("silent", "dead"):
            return
        row = self._view(order)
        for queue in queues:
            queue.put_nowait(row)
            if manner == "twice":
                queue.put_nowait(row)
                asyncio.get_running_loop().call_later(LATE, queue.put_nowait, row)
