"""Freeze rounds: a real executor is stopped around its orders, a successor takes over, it thaws.

``python -m execution.tests.freezing.rounds --rounds 50 --exact 10``. The random ones freeze one of
two executors at a random moment around an entry or an exit, the exact ones between the last look at
the clock and the byte, which nothing on our side can prevent. Judged at the broker's book: nothing
is open that is not named, and every duplicate was closed and told.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from execution.tags import parse_tag
from execution.tests.killing.rounds import KillHouse, Verdict, _sleep_until
from quantleap.embedded.processes import end_child, is_alive
from quantleap.embedded.state import PROJECT_ROOT

LEAD: Final = 12.0
HOLD: Final = 14.0
#: Seconds: leases are short here, so that a round is; the margin of the fence is as ever.
LEASE: Final = 5.0
#: Seconds within which a duplicate has to be closed at the broker and told here.
CLOSED_WITHIN: Final = 30.0
SETTINGS: Final = {"QUANTLEAP_LEASE_TTL": str(LEASE), "QUANTLEAP_LEASE_HEARTBEAT": "0.5"}


class FreezeHouse(KillHouse):
    """An installation whose executors are processes of the test's own."""

    def __init__(self, base_dir: Path, *, port: int, subscribers: int = 8) -> None:
        super().__init__(base_dir, port=port, subscribers=subscribers, workers=0, **SETTINGS)
        self._log = base_dir / "log" / "frozen.log"

    @contextmanager
    def executor(self, before: str = "") -> Iterator[int]:
        """One executor; its process id. It is ended in any case, thawed first."""
        command = [sys.executable, "-m", "execution.tests.freezing.process", "--before", before]
        environment = {
            **self.supervisor.environment,
            "DJANGO_SETTINGS_MODULE": "quantleap.settings.local",
        }
        with self._log.open("ab") as output:
            child = subprocess.Popen(
                command, cwd=PROJECT_ROOT, env=environment, stdout=output, stderr=output
            )
        try:
            yield child.pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGCONT)
            end_child(child, ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0)))

    def owned(self, pid: int) -> int:
        """How many shards an executor holds."""
        return int(self.ask("owned", pid=pid)["shards"])


def play(house: FreezeHouse, rounds: int, exact: int, seed: int, *, log: Any = print) -> Verdict:
    """Random rounds, then exact ones; then the whole day is judged."""
    chance = random.Random(seed)
    verdict = Verdict()
    log(f"seed {seed}, {rounds} random and {exact} exact rounds")
    templates = []
    for number in range(rounds):
        with house.executor() as victim, house.executor() as other:
            templates.append(_round(house, victim, other, chance, number, log))
    for number in range(exact):
        before = ("ENTRY", "EXIT")[number % 2]
        with house.executor(before) as victim, house.executor() as other:
            templates.append(_round(house, victim, other, chance, rounds + number, log, before))
    _judge(house, templates, verdict)
    return verdict


def _round(
    house: FreezeHouse,
    victim: int,
    other: int,
    chance: random.Random,
    number: int,
    log: Any,
    before: str = "",
) -> int:
    _until(lambda: house.owned(victim) == house.owned(other) == 4, 60.0, "shards are shared")
    begun = time.monotonic()
    made = house.ask("round", lead=LEAD, hold=HOLD)
    entry = begun + made["until_entry"]
    if before:
        _until(lambda: _is_stopped(victim), LEAD + HOLD + 10.0, "the victim froze")
        when = time.monotonic() - entry
    else:
        around = chance.choice((0.0, HOLD))
        when = around + chance.uniform(-0.3, 0.6)
        _sleep_until(entry + when)
        os.kill(victim, signal.SIGSTOP)
    _until(lambda: house.owned(other) == 8, 30.0, "the successor took over")
    time.sleep(chance.uniform(0.0, 3.0))
    os.kill(victim, signal.SIGCONT)
    log(f"round {number + 1}: frozen{' before a byte' if before else ''} at T{when:+.3f} s")
    template: int = made["template"]
    _until(
        lambda: house.ask("state", template=template)["status"] in ("CLOSED", "MISSED"),
        120.0,
        "the run is over",
    )
    assert is_alive(victim)
    return template


def _is_stopped(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return stat.rpartition(")")[2].split()[0] == "T"


def _until(condition: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


def _judge(house: FreezeHouse, templates: list[int], verdict: Verdict) -> None:
    deadline = time.monotonic() + CLOSED_WITHIN
    while house.positions() and time.monotonic() < deadline:
        time.sleep(0.5)
    told = house.ask("intents")
    named = {i["execution"] for i in told["intents"] if i["attention"]}
    known = {i["code"]: i for i in told["intents"]}
    living: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for order in house.book():
        tag = parse_tag(order["tag"])
        if tag is None or tag.code not in known:
            verdict.problems.append(f"order {order['tag']} at the broker without an intent")
        elif order["status"] != "REJECTED" and order["filled_quantity"]:
            living[tag.code].append(order)
    duplicates = [code for code, orders in living.items() if len(orders) > 1]
    for code in duplicates:
        if known[code]["execution"] not in named:
            verdict.problems.append(f"intent {code} was filled twice, and nobody was told")
    for row in house.positions():
        verdict.problems.append(f"position left open: {row}")
    for intent in told["intents"]:
        if intent["state"] not in ("FILLED", "REJECTED", "CANCELLED", "MISSED"):
            verdict.problems.append(f"intent {intent['tag']} ended {intent['state']}")
    verdict.figures |= {
        "rounds": len(templates),
        "orders_at_broker": sum(map(len, living.values())),
        "duplicates": len(duplicates),
        "told": len(named),
    }


def main() -> None:
    """Command line; exit status 1 when anything was not clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--exact", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--port", type=int, default=8790)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    begun = time.monotonic()
    with FreezeHouse(PROJECT_ROOT / "var" / "freeze", port=options.port) as house:
        verdict = play(house, options.rounds, options.exact, seed)
    print(json.dumps(verdict.figures, indent=1))
    for problem in verdict.problems[:40]:
        print("PROBLEM", problem)
    print(f"{'clean' if verdict.clean else 'NOT CLEAN'} in {time.monotonic() - begun:.0f} s")
    sys.exit(0 if verdict.clean else 1)


if __name__ == "__main__":
    main()
