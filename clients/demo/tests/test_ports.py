"""Ports of one's own, even where several installations start at once."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from clients import ports
from clients.ports import PORTS, NoFreePortsError, claim_block

FIRST = 13650


def listening(port: int) -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", port))
    taken.listen()
    return taken


def test_two_that_start_at_once_get_different_ports() -> None:
    port, first = claim_block(FIRST)
    next_port, second = claim_block(FIRST)
    with first, second:
        assert next_port >= port + PORTS


def test_a_block_with_a_port_in_use_is_passed_over() -> None:
    """Another process listens on the block's second port; its last port is not kept."""
    free, claim = claim_block(FIRST)
    claim.close()
    with listening(free + 1):
        other, claim = claim_block(FIRST)
        with claim:
            assert other >= free + PORTS
        listening(free + PORTS - 1).close()  # its last port was let go


def test_a_port_that_an_outgoing_connection_holds_is_not_free() -> None:
    """Nobody answers on it, and a server that binds it does not start."""
    free, claim = claim_block(FIRST)
    with claim, socket.socket() as outgoing:
        outgoing.bind(("127.0.0.1", free))
        outgoing.connect(claim.getsockname())
        assert not ports.is_free(free)
        assert ports.is_free(free + 1)


def test_nothing_free_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: False)
    with pytest.raises(NoFreePortsError, match="no 5 free ports from 13650 on"):
        claim_block(FIRST)


def test_the_clients_import_none_of_the_projects_python() -> None:
    """They measure what partners get, so they start processes and use HTTP like anybody else."""
    root = Path(ports.__file__).parent
    project = re.compile(
        r"^(?:from|import) (?:quantleap|marketplace|partners|brokers|subscriptions|execution)\b",
        re.MULTILINE,
    )
    modules = [path for path in root.rglob("*.py") if "tests" not in path.parts]
    assert len(modules) > 20
    assert [path.name for path in modules if project.search(path.read_text())] == []
