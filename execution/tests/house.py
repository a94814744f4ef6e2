"""A whole trading day for tests: simulator, contracts, feed, subscribers, one executor."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import requests
from django.conf import settings

from brokers import vault
from brokers.models import FeedAccount
from brokers.services.instruments import import_instruments
from brokers.simulator.exchange import Settings
from brokers.simulator.server import Ports, Simulator
from brokers.tests.factories import make_feed
from execution.engine.host import ExecutorHost
from marketplace.tests.factories import load_reference_data
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

T = TypeVar("T")
API_KEY = "apikey"


class SimulatorThread:
    """The simulator on an event loop of its own; ports are real."""

    def __init__(self, now: Callable[[], dt.datetime] = clock.now) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._simulator = self._do(self._start(now))
        self.ports: Ports = self._simulator.ports

    async def _start(self, now: Callable[[], dt.datetime]) -> Simulator:
        simulator = Simulator(Settings(), Ports(0, 0, 0), now)
        await simulator.start()
        return simulator

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def stop(self) -> None:
        """Close every port and end the thread."""
        self._do(self._simulator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


class Control:
    """The simulator's control port."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = requests.Session()

    def ask(self, method: str, path: str, **arguments: object) -> Any:
        """One call; its JSON."""
        answer = self._http.request(method, self.url + path, json=arguments or None, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def token(self, broker: str, client_id: str) -> str:
        """A living session of a client."""
        answer = self.ask("POST", "/sessions", broker=broker, api_key=API_KEY, client_id=client_id)
        return str(answer["access_token"])

    def orders(self) -> list[dict[str, Any]]:
        """Every order ever accepted: the oracle."""
        found: list[dict[str, Any]] = self.ask("GET", "/book")["orders"]
        return found

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()


def broker_settings(ports: Ports) -> dict[str, dict[str, str]]:
    """QUANTLEAP_BROKERS for a simulator on ``ports``."""
    kite = f"http://127.0.0.1:{ports.kite}"
    noren = f"http://127.0.0.1:{ports.noren}"
    return {
        "zerodha": {"api": kite, "login": kite, "instruments": f"{kite}/instruments/NFO"},
        "zebu": {"api": noren, "login": noren, "instruments": f"{noren}/NFO_symbols.txt.zip"},
    }


def load_market(control: Control, now: dt.datetime) -> FeedAccount:
    """Calendar, contracts of both brokers' files, and a feed account with a session."""
    load_reference_data(now)
    for broker in ("zerodha", "zebu"):
        url = settings.QUANTLEAP_BROKERS[broker]["instruments"]
        with requests.get(url, timeout=30) as answer:
            import_instruments(
                broker=broker, lines=_lines(answer), source=url, actor=SYSTEM, now=now
            )
    feed = make_feed(now=now)
    feed.api_key = vault.seal(feed, "api_key", API_KEY)
    feed.access_token = vault.seal(feed, "access_token", control.token("zerodha", feed.client_id))
    feed.save()
    return feed


def _lines(answer: requests.Response) -> list[str]:
    import io
    import zipfile

    if answer.url.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            return archive.read(archive.namelist()[0]).decode().splitlines()
    return answer.text.splitlines()


def start_executor(name: str = "test") -> ExecutorHost:
    """One executor in this process."""
    host = ExecutorHost(name)
    host.start()
    return host
