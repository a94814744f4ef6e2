"""An executor process that freezes itself between its last look at the clock and an order's byte.

``python -m execution.tests.freezing.process --before ENTRY`` is the executor itself but for that:
with SIGSTOP, once, before its first order of that purpose. Without ``--before`` it is the executor.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import Any

from execution.engine import process
from quantleap.core.startup import refuse_to_start
from quantleap.settings.process import ProcessKind


class Freezing:
    """A connected socket; ``send`` of an order stops the process first, when it is time."""

    armed = ""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def send(self, data: bytes) -> int:
        """Freeze, thaw, and send what was to be sent."""
        if Freezing.armed:
            Freezing.armed = ""
            os.kill(os.getpid(), signal.SIGSTOP)
        return int(self._raw.send(data))


def arm(purpose: str) -> None:
    """Freeze before the next order of a purpose that goes over any channel."""
    from execution.engine.wire.channel import Channel
    from execution.engine.wire.connection import Connection

    connect, send = Connection.connect, Channel._send

    async def connect_freezing(self: Connection) -> None:
        await connect(self)
        if self._socket is not None:
            self._socket = Freezing(self._socket)  # type: ignore[assignment]

    def send_watched(
        self: Channel, connection: Connection, queue: Any, intent: Any, at: Any
    ) -> None:
        if intent.purpose == purpose and not frozen:
            frozen.append(intent.code)
            Freezing.armed = purpose
        send(self, connection, queue, intent, at)

    frozen: list[str] = []
    Connection.connect = connect_freezing  # type: ignore[method-assign]
    Channel._send = send_watched  # type: ignore[method-assign, assignment]


def main() -> int:
    """The executor's own command line, behind ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", default="", choices=["", "ENTRY", "EXIT"])
    options, rest = parser.parse_known_args()
    refuse_to_start(ProcessKind.EXECUTOR)
    if options.before:
        arm(options.before)
    return process.main(rest)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
