"""Baseline: a bare prepared sender. Warm connections, bytes made beforehand, nothing else.

No database, no row before the send, no fence, no kill switch, no record of an answer: what a
Python process on uvloop can do at all. ``python -m bench.bare --url … --orders 1000 --due …``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import time
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit

import uvloop

from bench import orders

SPIN: Final = 0.002


class Wire(asyncio.Protocol):
    """One connection; counts the answer to its order."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.transport: asyncio.Transport
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it

    def data_received(self, data: bytes) -> None:
        """Count the answer, which arrives in one piece over loopback."""
        if not self.answered.done():
            self.answered.set_result(data)


def _self(wire: Wire) -> Wire:
    return wire


async def fire(url: str, count: int, due: float) -> None:
    """Send ``count`` orders, one per connection, at ``due`` (unix seconds)."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    wires: list[Wire] = []
    for number in range(count):
        raw = orders.raw(parts.netloc, f"tokenC{number:05d}", number)
        wire = Wire(raw)
        await loop.create_connection(partial(_self, wire), parts.hostname or "", parts.port or 80)
        wires.append(wire)
    gc.collect()
    gc.disable()
    deadline = time.monotonic() + due - time.time()
    if deadline < time.monotonic() + SPIN:
        raise SystemExit("connected too late")
    await asyncio.sleep(deadline - time.monotonic() - SPIN)
    while time.monotonic() < deadline or time.time() < due:
        pass
    for wire in wires:
        wire.transport.write(wire.raw)
    await asyncio.wait_for(asyncio.gather(*(wire.answered for wire in wires)), 10)
    for wire in wires:
        wire.transport.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--due", type=float, required=True)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(fire(options.url, options.orders, options.due))


if __name__ == "__main__":
    main()
