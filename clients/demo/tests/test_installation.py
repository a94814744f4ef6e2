"""Ports of one's own, also where several demos start at once."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from clients.demo import installation
from clients.demo.installation import PORTS, Installation, InstallationError, claim_block

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


def test_whose_shards_are_whose_is_read_from_the_logs(tmp_path: Path) -> None:
    """The first one takes all and gives half of them back; a name without a log has nothing."""

    def log(name: str, *events: tuple[int, str]) -> None:
        lines = [
            json.dumps({"shard": number, "token": 1, "event": said}) for number, said in events
        ]
        path = tmp_path / "log" / f"{name}.log"
        path.write_text("\n".join(["celery: ready", *lines]) + "\n")

    (tmp_path / "log").mkdir()
    both = [(number, "shard_claimed") for number in range(8)]
    log("executor", *both, *[(number, "shard_lost") for number in range(4)])
    log("executor2", *both[:4])
    log("executor3")
    log("web", *both)
    assert Installation(tmp_path, "").shards() == {
        "executor": {4, 5, 6, 7},
        "executor2": {0, 1, 2, 3},
        "executor3": set(),
    }
