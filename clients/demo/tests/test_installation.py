"""Whose shards are whose, as the demo reads it from the executors' logs."""

from __future__ import annotations

import json
from pathlib import Path

from clients.demo.installation import Installation


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
