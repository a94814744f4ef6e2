"""Kill rounds: a real installation whose processes die by ``kill -9`` while orders leave.

``python -m execution.tests.killing.rounds --rounds 20`` prints seed and kill moments and judges at
the simulator's book in the sense of "nothing lost, nothing twice, nothing unknown".
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import requests

from clients.ports import claim_block
from execution.tags import parse_tag
from quantleap.embedded.processes import signal_quietly
from quantleap.embedded.state import PROJECT_ROOT
from quantleap.supervisor import Layout, Supervisor, environment_without_servers

#: ``executor`` is a worker with the executor that it hosts, ``loop`` an executor alone.
VICTIMS: Final = ("executor", "postgres", "executors", "valkey", "beat", "loop")
LEAD: Final = 8.0
HOLD: Final = 16.0
ROUND: Final = 19.0
RECOVERY: Final = 30.0
#: What a problem breaks (docs/invariants.md).
PROVEN: Final = "I3 (no second send without proof)"
NAMED_END: Final = "I4 (every intent ends by name)"
WITHIN_PLAN: Final = "I5 (never more than planned or held)"
BOOKS_AGREE: Final = "I6 (the broker's book and ours agree)"
IN_ITS_WINDOW: Final = "I7 (no entry outside its window)"
SETTINGS: Final = {
    "QUANTLEAP_ARM_LEAD": "6",
    "QUANTLEAP_CONNECT_LEAD": "4",
    "QUANTLEAP_ENTRY_GRACE": "15",
    "QUANTLEAP_VISIBILITY_DELAY": "2",
    "QUANTLEAP_LOG_LEVEL": "INFO",
}


@dataclass
class Verdict:
    """What a judgement found: empty ``problems`` is clean."""

    problems: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Nothing lost, twice, early or unknown."""
        return not self.problems


class KillInstallation:
    """An installation of its own below ``base_dir``, and the driver inside it."""

    def __init__(
        self,
        base_dir: Path,
        *,
        fault: str = "",
        subscribers: int = 8,
        workers: int = 2,
        **settings: str,
    ) -> None:
        shutil.rmtree(base_dir, ignore_errors=True)
        environment = environment_without_servers() | SETTINGS | settings
        environment["QUANTLEAP_FAULT"] = fault
        port, self._claim = claim_block()
        self.layout = Layout(
            port=port,
            simulator_port=port + 1,
            workers=workers,
            only=frozenset({"simulator", "worker", "beat"} if workers else {"simulator"}),
        )
        self.supervisor = Supervisor(
            base_dir=base_dir,
            layout=self.layout,
            environment=environment,
            clock_start="2026-09-08T10:00:00+05:30",
            fresh=True,
            report=lambda text: None,
        )
        self.subscribers = subscribers
        self._asked = threading.Event()

    def __enter__(self) -> Self:
        with ExitStack() as started:  # whatever fails, nothing that was started stays
            started.callback(self._claim.close)
            started.callback(self.supervisor.stop)
            self.supervisor.start(seed=False)
            watcher = threading.Thread(target=self.supervisor.watch, args=(self._asked,))
            watcher.start()
            started.callback(watcher.join, 30)
            started.callback(self._asked.set)
            self._start_driver()
            started.callback(self._stop_driver)
            self.ask("prepare", subscribers=self.subscribers)
            self._started = started.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._started.close()

    def _start_driver(self) -> None:
        self._driver = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "execution.tests.killing.driver",
                f"http://127.0.0.1:{self.layout.simulator_port}",
            ],
            cwd=PROJECT_ROOT,
            env={
                **self.supervisor.environment,
                "DJANGO_SETTINGS_MODULE": "quantleap.settings.local",
                "QUANTLEAP_LOG_LEVEL": "ERROR",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _stop_driver(self) -> None:
        for stream in (self._driver.stdin, self._driver.stdout):
            if stream is not None:
                stream.close()
        self._driver.wait(20)

    def ask(self, name: str, **arguments: Any) -> dict[str, Any]:
        """One command of the driver."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(json.dumps({"do": name, **arguments}) + "\n")
        self._driver.stdin.flush()
        line = self._driver.stdout.readline()
        if not line:
            raise RuntimeError("the driver died")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self, victim: str) -> None:
        """``kill -9`` one part or server (or all executors); the supervisor starts it again."""
        if victim == "executors":
            self.supervisor.kill("executor")
            self.supervisor.kill("executor2")
        elif victim == "loop":
            for pid in self.ask("executors")["pids"][:1]:
                signal_quietly(pid, signal.SIGKILL)
        else:
            self.supervisor.kill(victim)

    def book(self) -> list[dict[str, Any]]:
        """The simulator's book: the oracle."""
        url = f"http://127.0.0.1:{self.layout.simulator_port}"
        orders: list[dict[str, Any]] = requests.get(f"{url}/book", timeout=30).json()["orders"]
        return orders

    def positions(self) -> list[dict[str, Any]]:
        """Net positions at the simulator."""
        url = f"http://127.0.0.1:{self.layout.simulator_port}"
        rows = requests.get(f"{url}/positions", timeout=30).json()["positions"]
        return [row for row in rows if row["quantity"]]


def play(
    installation: KillInstallation,
    rounds: int,
    seed: int,
    *,
    victims: Sequence[str] = VICTIMS,
    moment: float | None = None,
    after_first_order: bool = False,
    patience: float = 60.0,
    log: Any = print,
) -> Verdict:
    """Play ``rounds`` rounds with one kill each, then judge the whole day at the book.

    ``moment`` (seconds from T) fixes what chance would choose; with ``after_first_order`` the kill
    comes as soon as the broker has an order. ``patience`` is how long runs may take to close at
    the end.
    """
    chance = random.Random(seed)
    verdict = Verdict()
    log(f"seed {seed}, {rounds} rounds, victims {', '.join(victims)}")
    templates: list[int] = []
    slowest = 0.0
    for number in range(rounds):
        begun = time.monotonic()
        started = installation.ask("round", lead=LEAD, hold=HOLD)
        templates.append(started["template"])
        victim = victims[number % len(victims)]
        # From arming (T-6 s) to the last answer (T+2 s), half of them in the last second and a
        # half around T, where the commit and the orders are.
        span = (-6.0, 2.0) if chance.random() < 0.5 else (-1.2, 0.3)
        when = chance.uniform(*span) if moment is None else moment
        entry = begun + started["until_entry"]
        _sleep_until(entry + when)
        while after_first_order and not installation.book():
            time.sleep(0.02)
        installation.kill(victim)
        killed = time.monotonic()
        log(f"round {number + 1}: kill -9 {victim} at T{when:+.3f} s")
        _sleep_until(max(entry + 1.0, killed + 0.5))
        recovered = _recovery(
            installation, started["template"], killed, min(RECOVERY + 5, patience)
        )
        slowest = max(slowest, recovered)
        if recovered > RECOVERY:
            verdict.problems.append(f"round {number + 1}: unfinished {recovered:.0f} s after kill")
        _sleep_until(begun + ROUND)
    _wait_closed(installation, templates, verdict, patience)
    _judge(installation, verdict)
    verdict.figures["slowest_recovery_s"] = round(slowest, 1)
    return verdict


def _sleep_until(mono: float) -> None:
    time.sleep(max(0.0, mono - time.monotonic()))


def _recovery(installation: KillInstallation, template: int, killed: float, limit: float) -> float:
    """Seconds from the kill until every intent of the round is final; at most about ``limit``."""
    while True:
        state = installation.ask("state", template=template)
        spent = time.monotonic() - killed
        if (state["unfinished"] == 0 and state["status"]) or spent > limit:
            return spent
        time.sleep(0.25)


def _wait_closed(
    installation: KillInstallation, templates: Sequence[int], verdict: Verdict, patience: float
) -> None:
    deadline = time.monotonic() + patience
    open_runs = list(templates)
    while open_runs and time.monotonic() < deadline:
        open_runs = [
            t
            for t in open_runs
            if installation.ask("state", template=t)["status"] not in ("CLOSED", "MISSED")
        ]
        time.sleep(0.5)
    for template in open_runs:
        state = installation.ask("state", template=template)
        verdict.problems.append(f"run of template {template} never closed: {state}")


def _judge(installation: KillInstallation, verdict: Verdict) -> None:
    answer = installation.ask("intents")
    intents, book = answer["intents"], installation.book()
    by_code = {intent["code"]: intent for intent in intents}
    orders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for order in book:
        tag = parse_tag(order["tag"])
        if tag is None or tag.code not in by_code:
            problem = f"order {order['tag']} at the broker without an intent"
            verdict.problems.append(f"{problem}: {BOOKS_AGREE}")
            continue
        orders[tag.code].append(order)
        intent = by_code[tag.code]
        if intent["purpose"] == "ENTRY" and _instant(order["received_at"]) < _instant(
            intent["entry_at"]
        ):
            verdict.problems.append(f"order {order['tag']} before T: {IN_ITS_WINDOW}")
    for code, mine in orders.items():
        living = [o for o in mine if o["status"] != "REJECTED"]
        if len(living) > 1:
            problem = f"intent {code} has {len(living)} orders at the broker"
            verdict.problems.append(f"{problem}: {PROVEN}")
    for intent in intents:
        _judge_intent(intent, orders.get(intent["code"], []), verdict)
    for row in installation.positions():
        verdict.problems.append(f"position left open: {row}")
    entries = [i for i in intents if i["purpose"] == "ENTRY"]
    verdict.figures |= {
        "executions": dict(Counter(e["status"] for e in answer["executions"])),
        "entries": dict(Counter(i["state"] for i in entries)),
        "causes": dict(Counter(i["cause"] for i in intents if i["cause"])),
        "orders_at_broker": len(book),
        "sent_twice_after_proof": sum(1 for i in intents if i["sends"] > 1),
    }


def _judge_intent(
    intent: dict[str, Any], orders: Sequence[dict[str, Any]], verdict: Verdict
) -> None:
    filled = sum(int(o["filled_quantity"]) for o in orders)
    if intent["state"] not in ("FILLED", "REJECTED", "CANCELLED", "MISSED"):
        verdict.problems.append(f"intent {intent['tag']} ended {intent['state']}: {NAMED_END}")
    if intent["state"] == "FILLED" and not orders:
        verdict.problems.append(f"intent {intent['tag']} is FILLED but not at the broker")
    if filled != intent["filled"]:
        verdict.problems.append(
            f"intent {intent['tag']}: {filled} filled at the broker, {intent['filled']} here"
        )
    if filled > intent["quantity"]:
        verdict.problems.append(f"intent {intent['tag']} filled above plan: {WITHIN_PLAN}")


def _instant(text: str) -> float:
    import datetime as dt

    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def main() -> None:
    """Command line; exit status 1 when anything was not clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--fault", default="")
    parser.add_argument("--victims", default=",".join(VICTIMS))
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    base = PROJECT_ROOT / "var" / "kill"
    begun = time.monotonic()
    with KillInstallation(base, fault=options.fault) as installation:
        verdict = play(installation, options.rounds, seed, victims=options.victims.split(","))
    print(json.dumps(verdict.figures, indent=1))
    for problem in verdict.problems[:40]:
        print("PROBLEM", problem)
    print(f"{'clean' if verdict.clean else 'NOT CLEAN'} in {time.monotonic() - begun:.0f} s")
    sys.exit(0 if verdict.clean else 1)


if __name__ == "__main__":
    main()
