"""The week's actions on its installation and at the brokers: jumps, hand trades, second workers."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import requests

from clients.demo.broker import Simulator
from clients.demo.evidence import BookOrder, Place
from clients.demo.installation import ROOT, Installation, InstallationError
from clients.demo.story import IST, Customer

POLL: Final = 0.25
#: Maximum seconds to wait for a process, a login or a list.
PATIENCE: Final = 60.0
STARTED: Final = re.compile(r'"owner": "([^"]+)"[^\n]*"event": "executor_started"')
OFFSET: Final = struct.Struct("<d")  # docs/adr/0044: the file that moves running clocks


class TimeMachine:
    """The clock of an installation whose processes keep running. It only moves forward."""

    def __init__(self, installation: Installation) -> None:
        self._path = installation.base_dir / "run" / "clock"

    def now(self) -> dt.datetime:
        """The installation's own time, in IST."""
        (offset,) = OFFSET.unpack(self._path.read_bytes())
        return dt.datetime.fromtimestamp(time.time() + offset, IST)

    def jump(self, day: dt.date, wall: dt.time) -> None:
        """Set the clock of all processes to this moment; no effect if it is past."""
        to = dt.datetime.combine(day, wall, IST)
        if to <= self.now():
            return
        with self._path.open("r+b") as shared:
            shared.write(OFFSET.pack(to.timestamp() - time.time()))


class Street:
    """The brokers' side: their books, their customers' apps, their faults."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    def book(self, day: dt.date) -> list[BookOrder]:
        """The orders of one day, at all brokers."""
        return [order for order in self.simulator.book() if order.received_at.date() == day]

    def net(self) -> dict[Place, int]:
        """Net units by place; flat ones are left out."""
        return self.simulator.net_positions()

    def close_by_hand(self, customer: Customer) -> str:
        """A customer of Zerodha squares off one position in the broker's app: its symbol."""
        held = [
            (symbol, quantity)
            for (_, client_id, symbol), quantity in sorted(self.net().items())
            if client_id == customer.client_id
        ]
        if not held:
            raise InstallationError(f"{customer.client_id} holds nothing to close by hand")
        symbol, quantity = held[0]
        session = {"broker": customer.broker, "api_key": "theapp", "client_id": customer.client_id}
        token = self.simulator.call("POST", "/sessions", session)["access_token"]
        order = {
            "exchange": "NFO",
            "tradingsymbol": symbol,
            "transaction_type": "BUY" if quantity < 0 else "SELL",
            "quantity": abs(quantity),
            "product": "MIS",
            "order_type": "MARKET",
            "market_protection": "-1",
            "validity": "DAY",
            "tag": "byhand",
        }
        answer = requests.post(
            f"{self.simulator.kite}/orders/regular",
            data=order,
            headers={"Authorization": f"token theapp:{token}"},
            timeout=20,
        )
        if answer.status_code != 200:
            raise InstallationError(f"the broker's app refused: {answer.text[:200]}")
        place = (customer.broker, customer.client_id, symbol)
        wait_for(lambda: place not in self.net(), "the fill of what was closed by hand")
        return symbol

    def refuse_exits(self, customer: Customer) -> None:
        """From now on this broker refuses this customer's buy-backs."""
        match = {"broker": customer.broker, "client_id": customer.client_id, "side": "BUY"}
        fault = {"kind": "reject", "cause": "RISK", "match": match, "count": None}
        self.simulator.call("POST", "/faults", fault)

    def forget_faults(self) -> None:
        """Disarm all faults."""
        self.simulator.call("DELETE", "/faults")


class Operator:
    """Restarts and deploys the installation."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def executors(self) -> list[str]:
        """All executors that the installation's own worker has started so far, from its log."""
        log = self.installation.base_dir / "log" / "executor.log"
        return STARTED.findall(log.read_text(errors="replace"))

    def restart(self) -> None:
        """Stop the worker that hosts the executor in order; its supervisor starts the next one."""
        before = len(self.executors())
        os.kill(int(self.installation.read("ready.json")["pids"]["executor"]), signal.SIGTERM)
        wait_for(lambda: len(self.executors()) > before, "the next executor")

    def deploy(self) -> None:
        """A rolling deployment: start a second worker, restart the first, then stop the second."""
        log = self.installation.base_dir / "log" / "second.log"
        with log.open("ab") as output:
            second = subprocess.Popen(
                (
                    *(sys.executable, "-m", "celery", "-A", "quantleap", "worker"),
                    *("-n", "second@%h", "-P", "threads", "-c", "2", "-Q", "execution"),
                    *("-l", "INFO", "--without-gossip", "--without-mingle"),
                ),
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(lambda: _says(log, "executor_started"), "the second worker")
            time.sleep(5.0)  # the first one learns of it by heartbeats
            self.restart()
            time.sleep(8.0)  # and the successor claims its share
        finally:
            second.terminate()
            try:
                second.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                second.kill()
                second.wait()

    def _environment(self) -> dict[str, str]:
        """The environment of the installation's own parts, from its shell file."""
        lines = (self.installation.base_dir / "run" / "environment.sh").read_text().splitlines()
        script = "; ".join([*lines, "env -0"])
        said = subprocess.run(
            ("sh", "-c", script),
            env=self.installation.environment(),
            capture_output=True,
            check=True,
        ).stdout.decode()
        variables = dict(pair.split("=", 1) for pair in said.split("\0") if "=" in pair)
        return {**variables, "DJANGO_SETTINGS_MODULE": "quantleap.settings.local"}


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Poll ``condition``. Raises InstallationError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise InstallationError(f"{what} did not come within {seconds:.0f} s")
        time.sleep(POLL)


def _says(path: Path, word: str) -> bool:
    return path.exists() and word in path.read_text(errors="replace")
