"""The brokers' simulator, for tests that log in at it over HTTP.

What needs Django is imported in the fixtures: this file is read before Django is set up.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from brokers.simulator.server import Ports


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    """Where a simulator listens, for one module of tests."""
    from brokers.simulator.exchange import Settings
    from brokers.simulator.server import Ports, Simulator

    simulator = Simulator(Settings(), Ports(0, 0, 0))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(10)
        yield simulator.ports
    finally:
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def simulated(ports: Ports, settings: Any) -> None:
    """Both brokers are that simulator."""
    kite, noren = f"http://127.0.0.1:{ports.kite}", f"http://127.0.0.1:{ports.noren}"
    settings.QUANTLEAP_BROKERS = {
        "zerodha": {"api": kite, "login": kite, "instruments": f"{kite}/instruments/NFO"},
        "zebu": {"api": noren, "login": noren, "instruments": f"{noren}/NFO_symbols.txt.zip"},
    }
