"""A simulator running on its own thread."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import Any

import requests

from brokers.simulator.exchange import Settings
from brokers.simulator.server import Ports, Simulator
from brokers.tests.driven_simulator import API_KEY, TEN_O_CLOCK

#: A contract near the money all day: the path moves less than a strike step or two.
KITE_SYMBOL, NOREN_SYMBOL = "NIFTY2681825000CE", "NIFTY18AUG26C25000"


class Running:
    """A simulator on a thread of its own, its clock starting at 10:00 IST."""

    def __init__(self) -> None:
        self._offset = TEN_O_CLOCK - dt.datetime.now(dt.UTC)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.simulator = self._do(self._start())

    def now(self) -> dt.datetime:
        """The simulator's clock."""
        return dt.datetime.now(dt.UTC) + self._offset

    async def _start(self) -> Simulator:
        simulator = Simulator(Settings(), Ports(0, 0, 0), self.now)
        await simulator.start()
        return simulator

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def stop(self) -> None:
        self._do(self.simulator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def control(self, method: str, path: str, **arguments: object) -> Any:
        url = f"http://127.0.0.1:{self.simulator.ports.control}{path}"
        answer = requests.request(method, url, json=arguments or None, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(self, broker: str, client_id: str) -> str:
        arguments = {"broker": broker, "api_key": API_KEY, "client_id": client_id}
        return str(self.control("POST", "/sessions", **arguments)["access_token"])

    @property
    def kite_url(self) -> str:
        return f"http://127.0.0.1:{self.simulator.ports.kite}"

    def ask(self) -> str:
        """A price that fills now."""
        exchange = self.simulator.exchange
        return str(exchange.quote(exchange.contracts.by_kite_symbol[KITE_SYMBOL]).ask + 1)
