"""A whole trading day for tests: simulator, contracts, feed, subscribers, one executor."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal
from typing import Any, TypeVar

import requests
import uvloop
from django.conf import settings

from brokers import sealed_credentials
from brokers.base import Side
from brokers.models import BrokerAccount, FeedAccount
from brokers.services.instruments import import_instruments
from brokers.simulator.exchange import Settings
from brokers.simulator.server import Ports, Simulator
from brokers.tests.factories import make_feed
from execution.engine.executor import Executor
from execution.models import Execution, OrderIntent, Run
from execution.tests.factories import log_in, make_accounts, make_partner, subscribe_accounts
from execution.tests.hand_trades import trade_by_hand
from execution.timing import from_settings
from marketplace.tests.factories import load_reference_data
from quantleap.core import clock
from quantleap.core.audit import SYSTEM

T = TypeVar("T")
API_KEY = "apikey"
DAY = dt.date(2026, 9, 8)


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
        orders: list[dict[str, Any]] = self.ask("GET", "/book")["orders"]
        return orders

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
    feed.api_key = sealed_credentials.seal(feed, "api_key", API_KEY)
    feed.access_token = sealed_credentials.seal(
        feed, "access_token", control.token("zerodha", feed.client_id)
    )
    feed.save()
    return feed


def _lines(answer: requests.Response) -> list[str]:
    import io
    import zipfile

    if answer.url.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            return archive.read(archive.namelist()[0]).decode().splitlines()
    return answer.text.splitlines()


class ExecutorThread:
    """One :class:`Executor` in a thread of this process, so that it has the tests' database."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._thread = threading.Thread(target=self._run, name="executor", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.executor: Executor | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float = 15.0) -> None:
        """Hand the shards back and end the thread; harmless when it has ended."""
        if self._loop is not None and self.executor is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.executor.stop)
        self._thread.join(timeout)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.executor = Executor(from_settings(), name=self._name)
        await self.executor.run()


def start_executor(name: str = "test") -> ExecutorThread:
    """One executor in this process."""
    host = ExecutorThread(name)
    host.start()
    return host


class Installation:
    """Everything a day needs, at 10:00:00 IST of an ordinary Tuesday."""

    def __init__(self, simulator: SimulatorThread) -> None:
        self.control = Control(f"http://127.0.0.1:{simulator.ports.control}")
        self.now = clock.now()
        load_market(self.control, self.now)

    def entry_in(self, seconds: float, hold: float) -> dict[str, dt.time]:
        """Entry and exit times, IST, whole seconds."""
        entry = clock.to_ist(clock.now() + dt.timedelta(seconds=seconds)).replace(microsecond=0)
        return {
            "entry_time": entry.time(),
            "exit_time": (entry + dt.timedelta(seconds=hold)).time(),
        }

    def subscribe(self, template: Any, count: int, **fields: Any) -> list[Any]:
        """``count`` logged-in customers of both brokers."""
        accounts = make_accounts(
            count, partner=make_partner(), brokers=("zebu", "zerodha"), **fields
        )
        log_in(accounts, self.control.token, clock.now())
        subscribe_accounts(template, accounts)
        return accounts

    def strike(self, account: BrokerAccount, kind: str, **fault: Any) -> None:
        """From now on the broker does ``kind`` to this account's calls."""
        match = {"client_id": account.client_id, **fault.pop("match", {})}
        self.control.ask("POST", "/faults", kind=kind, match=match, **fault)

    def trade_by_hand(
        self, account: BrokerAccount, symbol: str, side: Side, quantity: int, price: Decimal
    ) -> None:
        """The customer trades in the broker's own app."""
        placed = trade_by_hand(account, symbol, side, quantity, price)
        assert placed.broker_order_id, placed


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Poll a condition of the database, bounded."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            states = list(OrderIntent.objects.values_list("state", "purpose", "cause"))
            runs = list(Run.objects.values_list("status", "cause"))
            executions = list(Execution.objects.values_list("status", "cause", "message"))
            raise AssertionError(f"not in {seconds} s: {runs} {executions[:8]} {states[:20]}")
        time.sleep(0.1)


def runs_closed() -> bool:
    """Whether there is a run, and every run is over."""
    return (
        Run.objects.exists() and not Run.objects.exclude(status__in=("CLOSED", "MISSED")).exists()
    )


def assert_filled(intents: Iterable[OrderIntent]) -> None:
    """Every entry filled; an exit may have been quoted again while the market moved."""
    for intent in intents:
        allowed = {"FILLED"} if intent.purpose == "ENTRY" else {"FILLED", "CANCELLED"}
        assert intent.state in allowed, (intent, intent.cause)


def open_at_brokers(control: Control) -> list[dict[str, Any]]:
    """Every position that is not flat, at the brokers themselves."""
    rows = control.ask("GET", "/positions")["positions"]
    return [row for row in rows if row["quantity"]]
