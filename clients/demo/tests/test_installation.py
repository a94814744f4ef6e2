"""Ports of one's own, also where several demos start at once."""

from __future__ import annotations

import socket

import pytest

from clients.demo import installation
from clients.demo.installation import PORTS, InstallationError, claim_block

FIRST = 18650


def listening(port: int) -> socket.socket:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", port))
    taken.listen()
    return taken


def test_two_that_start_at_once_get_different_ports() -> None:
    one, first = claim_block(FIRST)
    two, second = claim_block(FIRST)
    with first, second:
        assert two >= one + PORTS


def test_a_block_with_a_stranger_in_it_is_passed_over_and_not_kept() -> None:
    free, claim = claim_block(FIRST)
    claim.close()
    with listening(free + 1):
        other, claim = claim_block(FIRST)
        with claim:
            assert other >= free + PORTS
        listening(free + PORTS - 1).close()  # its last port was let go


def test_nothing_free_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_answers", lambda port: True)
    with pytest.raises(InstallationError, match="no 5 free ports from 18650 on"):
        claim_block(FIRST)
