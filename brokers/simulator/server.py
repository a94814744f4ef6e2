"""Servers and command line of the broker simulator: three loopback ports in one event loop."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from aiohttp import web

from brokers.simulator import facts
from brokers.simulator.control import ControlWire
from brokers.simulator.exchange import Exchange, Settings
from brokers.simulator.kite import KiteWire
from brokers.simulator.kite_stream import PATH as KITE_STREAM
from brokers.simulator.kite_stream import KiteStream
from brokers.simulator.limits import Limits
from brokers.simulator.noren import NorenWire
from brokers.simulator.noren_stream import PATH as NOREN_STREAM
from brokers.simulator.noren_stream import NorenStream
from brokers.simulator.wire import Handler, StampedServer, Upgrade
from quantleap.core import clock

HOST: Final = "127.0.0.1"
BACKLOG: Final = 4096
SHUTDOWN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports; 0 lets the system choose."""

    control: int = 8900
    kite: int = 8901
    noren: int = 8902


class Simulator:
    """The running servers. ``ports`` holds the real numbers after :meth:`start`."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        now: Callable[[], dt.datetime] = clock.now,
    ) -> None:
        self.exchange = Exchange(settings, now)
        self.ports = ports
        self._stream = NorenStream(self.exchange)
        self._kite_stream = KiteStream(self.exchange)
        self._runners: list[web.ServerRunner] = []
        self._ticks: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen on all ports and start the market's tick."""
        self.exchange.loop = asyncio.get_running_loop()
        ports = {name: getattr(self.ports, name) for name in ("control", "kite", "noren")}
        handlers = self.handlers()
        bound = {
            name: await self._listen(name, handlers[name], port) for name, port in ports.items()
        }
        self.ports = Ports(**bound)
        self._ticks = asyncio.create_task(self.exchange.run_ticks())

    def handlers(self) -> Mapping[str, Handler]:
        """The handler of each port."""
        return {
            "control": ControlWire(self.exchange),
            "kite": KiteWire(self.exchange),
            "noren": NorenWire(self.exchange),
        }

    def server(self, handler: Handler, streams: Mapping[str, Upgrade]) -> StampedServer:
        """The HTTP server of a handler."""
        return StampedServer(handler, self.exchange.now, streams)

    async def _listen(self, name: str, handler: Handler, port: int) -> int:
        streams = {
            "noren": {NOREN_STREAM: self._stream.serve},
            "kite": {KITE_STREAM: self._kite_stream.serve},
        }.get(name, {})
        runner = web.ServerRunner(self.server(handler, streams), shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, HOST, port, backlog=BACKLOG).start()
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection and port."""
        if self._ticks is not None:
            self._ticks.cancel()
        await self._stream.close()
        await self._kite_stream.close()
        for runner in self._runners:
            await runner.cleanup()


async def serve(settings: Settings, ports: Ports) -> None:
    """Run until SIGINT or SIGTERM."""
    simulator = Simulator(settings, ports)
    await simulator.start()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    bound = simulator.ports
    sys.stdout.write(
        f"broker simulator: kite http://{HOST}:{bound.kite} noren http://{HOST}:{bound.noren} "
        f"control http://{HOST}:{bound.control} "
        f"({simulator.exchange.contracts.day}, {len(simulator.exchange.contracts)} contracts)\n"
    )
    sys.stdout.flush()
    await stopping.wait()
    await simulator.stop()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options shared by the command line and the management command."""
    parser.add_argument("--control-port", type=int, default=Ports().control)
    parser.add_argument("--kite-port", type=int, default=Ports().kite)
    parser.add_argument("--noren-port", type=int, default=Ports().noren)
    parser.add_argument("--seed", type=int, default=1, help="seed of the synthetic market")
    parser.add_argument("--funds", type=Decimal, default=Settings().default_funds)
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=N",
        help="another rate limit than the broker's own, 0 for none; may be repeated",
    )
    parser.add_argument("--redirect-url", default=Settings().redirect_url)
    parser.add_argument(
        "--closed-days", default="", help="further dates (YYYY-MM-DD, comma separated) or @file"
    )


def run(options: Mapping[str, object]) -> None:
    """Run the simulator with parsed options until it is stopped."""
    settings = Settings(
        seed=int(str(options["seed"])),
        facts=facts.load(closed_days(str(options["closed_days"]))),
        default_funds=Decimal(str(options["funds"])),
        limits=limits(options["limit"]),
        redirect_url=str(options["redirect_url"]),
    )
    ports = Ports(
        control=int(str(options["control_port"])),
        kite=int(str(options["kite_port"])),
        noren=int(str(options["noren_port"])),
    )
    _raise_file_limit()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(settings, ports))


def limits(words: object) -> Limits:
    """The brokers' limits, except those given as ``NAME=N``. Raises ValueError."""
    pairs = [str(word).partition("=") for word in words or ()] if isinstance(words, list) else []
    return Limits().changed({name: int(number) for name, _, number in pairs})


def closed_days(text: str) -> frozenset[dt.date]:
    """Dates from a comma or line separated list, or from ``@file``. Raises ValueError."""
    if text.startswith("@"):
        text = Path(text[1:]).read_text(encoding="utf-8")
    words = text.replace(",", " ").split()
    return frozenset(dt.date.fromisoformat(word) for word in words)


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m brokers.simulator``."""
    parser = argparse.ArgumentParser(prog="brokers.simulator", description=__doc__)
    add_arguments(parser)
    run(vars(parser.parse_args(argv)))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _raise_file_limit() -> None:
    """Raise the file limit: thousands of warm client connections need as many descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
