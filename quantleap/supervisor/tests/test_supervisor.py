"""The supervisor: what dies comes back, what is stopped stays down, nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
import pytest

from clients.ports import claim_block
from quantleap.embedded import discover
from quantleap.embedded.processes import command_line, is_alive, wait_until
from quantleap.embedded.state import PROJECT_ROOT
from quantleap.supervisor import (
    Layout,
    Part,
    Supervisor,
    SupervisorError,
    environment_without_servers,
)
from quantleap.supervisor.backoff import SETTLED
from quantleap.supervisor.parts import LOOPBACK, manage

pytestmark = pytest.mark.process

# Only a start that hangs fails a test: a machine that runs other suites takes a minute for one.
STARTS_WITHIN: Final = 180.0

# Tells its journal when it starts and stops; leaves a child of its own that outlives it.
ROLE = """
import os, pathlib, signal, subprocess, sys
journal, name = pathlib.Path(sys.argv[1]), sys.argv[2]
helper = subprocess.Popen(["/bin/sleep", "600"])
def say(word):
    with journal.open("a") as handle:
        print(word, name, os.getpid(), helper.pid, file=handle)
def leave(*_):
    say("stop")
    helper.kill()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
say("start")
signal.pause()
"""


@dataclass(frozen=True)
class TwoParts(Layout):
    """Two parts that write what happens to them into a journal."""

    journal: Path = Path("journal")

    def parts(self) -> list[Part]:
        """``first`` and ``second``."""
        return [
            Part(name, (sys.executable, "-c", ROLE, str(self.journal), name), stop_seconds=10.0)
            for name in ("first", "second")
        ]

    def lines(self, word: str) -> list[list[str]]:
        """The journal's entries that begin with ``word``."""
        if not self.journal.exists():
            return []
        return [line.split() for line in self.journal.read_text().splitlines() if word in line]


@pytest.fixture
def port() -> Iterator[int]:
    """A loopback port that nobody else takes until the test ends."""
    claimed, claim = claim_block()
    with claim:
        yield claimed


@pytest.fixture
def layout(tmp_path: Path) -> TwoParts:
    """Two parts with a journal of the test's own."""
    return TwoParts(journal=tmp_path / "journal")


@pytest.fixture
def supervisor(tmp_path: Path, layout: TwoParts) -> Iterator[Supervisor]:
    """A started supervisor of the two parts on embedded servers."""
    started = Supervisor(
        base_dir=tmp_path / "var",
        layout=layout,
        environment=environment_without_servers(),
        report=lambda _: None,
    )
    try:
        started.start(seed=False)
        assert wait_until(lambda: len(layout.lines("start")) == 2, 10.0)
        yield started
    finally:
        started.stop()


def test_killed_parts_restart_and_stop_in_reverse_order(
    supervisor: Supervisor, layout: TwoParts
) -> None:
    before = supervisor.pids()
    assert set(before) == {"postgres", "valkey", "first", "second"}
    helper = int(layout.lines("start first")[0][3])
    with supervisor.watching():
        for name in before:
            supervisor.kill(name)

        def all_new() -> bool:
            now = supervisor.pids()
            return now.keys() == before.keys() and all(now[name] != before[name] for name in now)

        assert wait_until(all_new, 20.0)
        assert wait_until(lambda: len(layout.lines("start")) == 4, 10.0)
    assert not is_alive(helper)
    assert supervisor.services is not None
    with psycopg.connect(supervisor.services.urls.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM django_content_type").fetchone() is not None
    after = supervisor.pids()
    supervisor.stop()
    assert [line[1] for line in layout.lines("stop")] == ["second", "first"]
    assert not any(is_alive(pid) for pid in after.values())
    assert supervisor.pids() == {}


def test_a_part_that_keeps_failing_is_tried_ever_less_often(tmp_path: Path) -> None:
    class Failing(Layout):
        def parts(self) -> list[Part]:
            return [Part("failing", (sys.executable, "-c", "raise SystemExit(3)"), 1.0)]

    reported: list[str] = []
    supervisor = Supervisor(base_dir=tmp_path / "var", layout=Failing(), report=reported.append)
    (tmp_path / "var" / "log").mkdir(parents=True)
    (tmp_path / "var" / "run").mkdir()
    supervisor.start_process("failing")
    with supervisor.watching():
        assert wait_until(lambda: sum("ended" in line for line in reported) >= 3, 20.0)
    supervisor.stop()
    assert [line for line in reported if "ended" in line][:3] == [
        f"failing ended (exit 3); starting it again in {wait} s" for wait in ("0.2", "0.5", "1")
    ]


def _said(log: Path, times: int) -> bool:
    return log.exists() and log.read_text().count("up") == times


def _reported(lines: list[str], what: str, times: int) -> bool:
    return lines.count(what) == times


def test_every_clean_stop_is_followed_by_a_start_at_once(tmp_path: Path) -> None:
    """Seen 4.7 s before an entry: "ended (exit 0); starting it again in 30 s", and 20 of 20 missed.

    Whatever ends cleanly the moment it starts is backed off from all the same.
    """
    stoppable = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
        "print('up', flush=True); signal.pause()"
    )

    class Stoppable(Layout):
        def parts(self) -> list[Part]:
            return [
                Part("stoppable", (sys.executable, "-c", stoppable), 1.0),
                Part("useless", (sys.executable, "-c", ""), 1.0),
            ]

    reported: list[str] = []
    again = "stoppable was stopped; starting it again"
    supervisor = Supervisor(base_dir=tmp_path / "var", layout=Stoppable(), report=reported.append)
    (tmp_path / "var" / "log").mkdir(parents=True)
    (tmp_path / "var" / "run").mkdir()
    ready = tmp_path / "var" / "log" / "stoppable.log"
    supervisor.start_process("useless")
    supervisor.start_process("stoppable")
    with supervisor.watching():
        for stops in range(1, 8):
            assert wait_until(partial(_said, ready, stops), 10.0)
            before = supervisor.pids()["stoppable"]
            supervisor._running["stoppable"].started -= SETTLED  # it has long been up
            os.kill(before, signal.SIGTERM)
            assert wait_until(partial(_reported, reported, again, stops), 5.0), reported
        assert wait_until(lambda: sum("useless ended" in line for line in reported) >= 2, 20.0)
    supervisor.stop()
    assert not any("stoppable ended" in line for line in reported)
    assert "useless was stopped; starting it again" not in reported


def test_half_a_configuration_and_a_busy_port_are_refused(tmp_path: Path) -> None:
    """The message says what to do."""
    half = {**environment_without_servers(), "REDIS_URL": "redis://cache.invalid/0"}
    supervisor = Supervisor(
        base_dir=tmp_path / "var", layout=Layout(), environment=half, report=lambda _: None
    )
    with pytest.raises(SupervisorError, match="only REDIS_URL is set"):
        supervisor.start()
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        supervisor = Supervisor(
            base_dir=tmp_path / "var",
            layout=Layout(port=port, only=frozenset({"web"})),
            environment=environment_without_servers(),
            report=lambda _: None,
        )
        with pytest.raises(SupervisorError, match=f"port {port} for web is used"):
            supervisor.start()
        supervisor.stop()
    assert discover(tmp_path / "var") is None


def up(base_dir: Path, port: int, *more: str) -> list[str]:
    """The command line of ``manage.py up`` with web only."""
    command = [*manage("up"), "--base-dir", str(base_dir), "--port", str(port), "--only", "web"]
    return [*command, "--no-seed", "--quiet", *more]


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the project without servers of its own; it is ended even if the test fails."""
    with subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment_without_servers()) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for_status(base_dir: Path, supervisor: int) -> dict[str, int]:
    """The pids that the running ``manage.py up`` published."""
    path = base_dir / "run" / "ready.json"

    def is_current() -> bool:
        return path.exists() and json.loads(path.read_text())["supervisor"] == supervisor

    assert wait_until(is_current, STARTS_WITHIN)
    pids: dict[str, int] = json.loads(path.read_text())["pids"]
    return pids


@pytest.mark.parametrize("clock_start", ["2026-09-09T09:14:00", None])
def test_a_shell_can_use_the_same_installation(tmp_path: Path, clock_start: str | None) -> None:
    base_dir = tmp_path / "it's here"
    (base_dir / "run").mkdir(parents=True)
    layout = Layout(port=18001, simulator_port=18901)
    supervisor = Supervisor(
        base_dir=base_dir, layout=layout, environment={}, clock_start=clock_start
    )
    supervisor._complete_environment()
    supervisor._write_status()
    asked = "$QUANTLEAP_VAR_DIR $QUANTLEAP_BASE_URL $QUANTLEAP_SIMULATOR_NOREN"
    script = f'. "$0"; echo "{asked} ${{QUANTLEAP_CLOCK_START-none}}"'
    said = subprocess.run(
        ("sh", "-c", script, str(base_dir / "run" / "environment.sh")),
        env={"QUANTLEAP_CLOCK_START": "of another installation"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    urls = "http://127.0.0.1:18001 http://127.0.0.1:18903"
    assert said == f"{base_dir} {urls} {clock_start or 'none'}\n"
    supervisor.stop()
    assert not (base_dir / "run" / "environment.sh").exists()


def test_up_survives_its_own_kill_9_and_a_second_start_works(tmp_path: Path, port: int) -> None:
    base_dir = tmp_path / "var"
    with running(up(base_dir, port)) as first:
        left = wait_for_status(base_dir, first.pid)
        first.kill()
    with running(up(base_dir, port)) as second:
        started = wait_for_status(base_dir, second.pid)
        assert not {pid for pid in left.values() if is_alive(pid)} - set(started.values())
        with socket.create_connection((LOOPBACK, port), timeout=5):
            pass
        second.send_signal(signal.SIGINT)
        assert second.wait(timeout=60) == 0
    assert not any(is_alive(pid) for pid in started.values())


def test_up_stops_cleanly_when_make_is_killed(tmp_path: Path, port: int) -> None:
    """The next start waits for it."""
    base_dir = tmp_path / "var"
    command = up(base_dir, port, "--die-with-parent")
    stand_in = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with running([sys.executable, "-c", stand_in, *command]) as make:
        assert wait_until(lambda: (base_dir / "run" / "ready.json").exists(), STARTS_WITHIN)
        first = int(json.loads((base_dir / "run" / "ready.json").read_text())["supervisor"])
        assert "manage.py up" in command_line(first)
        make.kill()
    with running(command) as second:
        wait_for_status(base_dir, second.pid)
        assert not is_alive(first)
        second.terminate()
        assert second.wait(timeout=60) == 0
