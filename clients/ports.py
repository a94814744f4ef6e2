"""Blocks of loopback ports for installations that run beside each other on one machine.

For clients and tests. Like all of ``clients`` it imports none of the project's Python.
"""

from __future__ import annotations

import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"
#: Below the ports that an operating system gives to outgoing connections (from 16000 or 32768 on),
#: and below those of `make run`.
FIRST: Final = 8650
PORTS: Final = 5  # web, then the simulator's three, then the one that claims the block
BLOCKS: Final = 40


class NoFreePortsError(RuntimeError):
    """Every block is used."""


def claim_block(first: int = FIRST) -> tuple[int, socket.socket]:
    """The first port of a block of free ones, and the socket that claims the block until it closes.

    Between looking and listening, others may look as well: whoever listens on the last port of a
    block owns all of it. Raises NoFreePortsError.
    """
    for port in range(first, first + BLOCKS * PORTS, PORTS):
        claim = socket.socket()
        try:
            claim.bind((LOOPBACK, port + PORTS - 1))
            claim.listen()
        except OSError:  # somebody else's
            claim.close()
            continue
        if all(is_free(port + offset) for offset in range(PORTS - 1)):
            return port, claim
        claim.close()
    raise NoFreePortsError(f"no {PORTS} free ports from {first} on")


def is_free(port: int) -> bool:
    """Whether a server could listen on a loopback port now.

    Asked by binding, as a server does: a port that somebody's outgoing connection holds answers
    nobody, and is not free.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
