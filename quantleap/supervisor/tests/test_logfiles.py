"""Logs that were rotated only at a restart: by size and by day, under writers that live."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantleap.supervisor.logfiles import LogFiles

#: Writes a line whenever it is told to, and says when it is there.
WRITER = """
import os, sys
for order in sys.stdin:
    os.write(1, (order.strip() * 40 + "\\n").encode())
    os.write(2, b".")
"""


class Writer:
    """A part that has its log open, as the supervisor opens it, and never opens it again."""

    def __init__(self, path: Path) -> None:
        with path.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-c", WRITER],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.PIPE,
            )

    def write(self, word: str) -> None:
        """Have it write one line; returns when that is done."""
        assert self._child.stdin is not None
        assert self._child.stderr is not None
        self._child.stdin.write(f"{word}\n".encode())
        self._child.stdin.flush()
        assert self._child.stderr.read(1) == b"."

    def end(self) -> None:
        """End it."""
        self._child.communicate()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    started = Writer(tmp_path / "web.log")
    yield started
    started.end()


def words(path: Path) -> list[str]:
    """The first letters of every line; a hole would show as NUL bytes."""
    text = path.read_bytes()
    assert b"\0" not in text
    return [line[:2] for line in text.decode().splitlines()]


@pytest.mark.process
def test_a_living_writers_log_was_rotated_only_at_a_restart(tmp_path: Path, writer: Writer) -> None:
    """Bug: 150 MB a day, and one file of them all."""
    today = dt.date(2026, 9, 8)
    logs = LogFiles(tmp_path, largest=150, kept=3)
    logs.rotate_due(today)
    for word in ("a1", "b2", "c3", "d4", "e5"):
        writer.write(word)
        logs.rotate_due(today)
    log = tmp_path / "web.log"
    assert (words(log), words(tmp_path / "web.log.1")) == (["e5"], ["c3", "d4"])
    assert words(tmp_path / "web.log.2") == ["a1", "b2"]
    writer.write("f6")
    assert words(log) == ["e5", "f6"]


@pytest.mark.process
def test_a_new_day_begins_new_files_and_the_oldest_go(tmp_path: Path, writer: Writer) -> None:
    logs = LogFiles(tmp_path, kept=2)
    day = dt.date(2026, 9, 8)
    logs.rotate_due(day)
    for word in ("a1", "b2", "c3", "d4"):
        writer.write(word)
        day += dt.timedelta(days=1)
        logs.rotate_due(day)
        logs.rotate_due(day)  # once a day
    assert (tmp_path / "web.log").read_bytes() == b""
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["web.log", "web.log.1", "web.log.2"]
    assert words(tmp_path / "web.log.1") == ["d4"]
    assert words(tmp_path / "web.log.2") == ["c3"]


def test_an_empty_log_of_a_quiet_part_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "beat.log").touch()
    logs = LogFiles(tmp_path)
    logs.rotate_due(dt.date(2026, 9, 8))
    logs.rotate_due(dt.date(2026, 9, 9))
    assert [path.name for path in tmp_path.iterdir()] == ["beat.log"]
