"""Freeze rounds: a real executor is stopped around its orders, a successor takes over, it thaws.

``python -m execution.tests.freezing.rounds --rounds 50 --exact 10 --late 2``. The random ones
freeze one of two executors at a random moment around an entry or an exit, the exact ones between
the last look at the clock and the byte, which nothing on our side can prevent. The late ones are
exact ones that thaw when the run is over. Judged at the broker's book: every duplicate of a living
execution was closed and told; what leaves when its execution is over was told by the process that
sent it, and is what is open, to the unit.
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
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from execution.alarms import DUPLICATE, LEFT_LATE
from execution.tags import parse_tag
from execution.tests.killing.rounds import KillInstallation, Verdict, _instant, _sleep_until
from quantleap.embedded.processes import end_child, is_alive
from quantleap.embedded.state import PROJECT_ROOT

LEAD: Final = 12.0
HOLD: Final = 14.0
#: An exact round waits until the successor has sent everything itself; both are inside the grace.
EXACT_HOLD: Final = 26.0
#: Seconds: leases are short here, so that a round is; the margin of the fence is as ever.
LEASE: Final = 5.0
#: Seconds from a duplicate's appearance in the book until it is closed, and until it is told.
CLOSED_WITHIN: Final = 5.0
#: Seconds that the last positions are given to be closed.
SETTLES: Final = 30.0
SETTINGS: Final = {"QUANTLEAP_LEASE_TTL": str(LEASE), "QUANTLEAP_LEASE_HEARTBEAT": "0.5"}


class FreezeInstallation(KillInstallation):
    """An installation whose executors are processes of the test's own."""

    def __init__(self, base_dir: Path, *, subscribers: int = 8) -> None:
        super().__init__(base_dir, subscribers=subscribers, workers=0, **SETTINGS)
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


def play(
    installation: FreezeInstallation,
    rounds: int,
    exact: int,
    seed: int,
    *,
    late: int = 0,
    log: Any = print,
) -> Verdict:
    """Random rounds, then exact ones, then late ones; then the whole day is judged."""
    chance = random.Random(seed)
    verdict = Verdict()
    log(f"seed {seed}, {rounds} random, {exact} exact and {late} late rounds")
    templates = []
    for number in range(rounds):
        with installation.executor() as victim, installation.executor() as other:
            templates.append(_round(installation, victim, other, chance, number, log))
    for number in range(exact):
        before = ("ENTRY", "EXIT")[number % 2]
        with installation.executor(before) as victim, installation.executor() as other:
            templates.append(
                _round(installation, victim, other, chance, rounds + number, log, before)
            )
    for number in range(rounds + exact, rounds + exact + late):
        with installation.executor("ENTRY") as victim, installation.executor() as other:
            templates.append(
                _round(installation, victim, other, chance, number, log, "ENTRY", late=True)
            )
    _judge(installation, templates, verdict)
    return verdict


def _round(
    installation: FreezeInstallation,
    victim: int,
    other: int,
    chance: random.Random,
    number: int,
    log: Any,
    before: str = "",
    *,
    late: bool = False,
) -> int:
    _until(
        lambda: installation.owned(victim) == installation.owned(other) == 4,
        60.0,
        "shards are shared",
    )
    begun = time.monotonic()
    hold = EXACT_HOLD if before and not late else HOLD
    started = installation.ask("round", lead=LEAD, hold=hold)
    template: int = started["template"]
    entry = begun + started["until_entry"]
    if before:
        _until(lambda: _is_stopped(victim), LEAD + hold + 10.0, "the victim froze")
        when = time.monotonic() - entry
    else:
        when = chance.choice((0.0, hold)) + chance.uniform(-0.3, 0.6)
        _sleep_until(entry + when)
        os.kill(victim, signal.SIGSTOP)
    _until(lambda: installation.owned(other) == 8, 30.0, "the successor took over")
    if late:
        _until(
            lambda: _is_over(installation, template), 120.0, "the run is over without the victim"
        )
    elif before == "ENTRY":
        # Now what it was about to send is sent already, and is there twice when it thaws.
        _wait(lambda: _all_are(installation.ask("state", template=template), "OPEN"), hold)
    elif before == "EXIT":
        # What it was about to send has been given up, and another exit takes its place.
        _wait(lambda: installation.ask("state", template=template)["given_up"] > 0, hold)
    else:
        time.sleep(chance.uniform(0.0, 3.0))
    os.kill(victim, signal.SIGCONT)
    thawed = time.monotonic() - entry
    log(
        f"round {number + 1}: frozen{f' before an {before}' if before else ''} at T{when:+.3f} s, "
        f"thawed at T{thawed:+.1f} s"
    )
    _until(lambda: _is_over(installation, template), 120.0, "the run is over")
    if late:
        _until(
            lambda: installation.ask("state", template=template)["left_late"] > 0,
            30.0,
            "it was told",
        )
    assert is_alive(victim)
    return template


def _is_over(installation: FreezeInstallation, template: int) -> bool:
    return installation.ask("state", template=template)["status"] in ("CLOSED", "MISSED")


def _all_are(state: dict[str, Any], status: str) -> bool:
    return set(state.get("executions", {})) == {status}


def _wait(condition: Any, seconds: float) -> None:
    with suppress(AssertionError):
        _until(condition, seconds, "")


def _is_stopped(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return stat.rpartition(")")[2].split()[0] == "T"


def _until(condition: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


def _judge(installation: FreezeInstallation, templates: list[int], verdict: Verdict) -> None:
    _wait(lambda: not installation.positions(), SETTLES)
    answer = installation.ask("intents")
    known = {intent["code"]: intent for intent in answer["intents"]}
    book = installation.book()
    filled: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for order in book:
        tag = parse_tag(order["tag"])
        if tag is None or tag.code not in known:
            verdict.problems.append(f"order {order['tag']} at the broker without an intent")
        elif order["filled_quantity"]:
            filled[tag.code].append(order)
    slowest = 0.0
    duplicates = {code: orders for code, orders in filled.items() if len(orders) > 1}
    for code, orders in duplicates.items():
        last = max(orders, key=_received)
        if not _left_after_the_end(known[code], last):
            slowest = max(slowest, _judge_closing(last, book, verdict))
            _judge_alarm(known[code], last, (DUPLICATE, LEFT_LATE), verdict)
    left = _judge_what_left_after_the_end(known, filled, verdict)
    for row in installation.positions():
        owed = left.pop((row["client_id"], row["symbol"]), 0)
        if row["quantity"] != owed:
            verdict.problems.append(f"{owed} units of it left after the end: {row}")
    verdict.problems.extend(f"{owed} units of {of} are not open" for of, owed in left.items())
    for intent in answer["intents"]:
        if intent["state"] not in ("FILLED", "REJECTED", "CANCELLED", "MISSED"):
            verdict.problems.append(f"intent {intent['tag']} ended {intent['state']}")
    verdict.figures |= {
        "rounds": len(templates),
        "orders_filled": sum(map(len, filled.values())),
        "duplicates": len(duplicates),
        "slowest_close_s": round(slowest, 1),
        "left_late": sum(LEFT_LATE in i["told"] for i in answer["intents"]),
        "open_because_late": len(installation.positions()),
        "executions": dict(Counter(e["status"] for e in answer["executions"])),
    }


def _received(order: dict[str, Any]) -> float:
    return float(_instant(order["received_at"]))


def _left_after_the_end(intent: dict[str, Any], order: dict[str, Any]) -> bool:
    return bool(intent["over_at"]) and _received(order) > _instant(intent["over_at"])


def _judge_what_left_after_the_end(
    known: dict[str, dict[str, Any]],
    filled: dict[str, list[dict[str, Any]]],
    verdict: Verdict,
) -> dict[tuple[str, str], int]:
    """Whether each order that left when its execution was over was told; the units by client and
    symbol that are open because of them. Nobody closes them: docs/adr/0040."""
    units: dict[tuple[str, str], int] = defaultdict(int)
    for code, orders in filled.items():
        for order in orders:
            if _left_after_the_end(known[code], order):
                _judge_alarm(known[code], order, (LEFT_LATE,), verdict)
                sign = 1 if order["side"] == "BUY" else -1
                units[order["client_id"], order["symbol"]] += sign * order["filled_quantity"]
    return {of: owed for of, owed in units.items() if owed}


def _judge_closing(late: dict[str, Any], book: list[dict[str, Any]], verdict: Verdict) -> float:
    """Whether what was filled twice was closed; seconds until it was."""
    shown = _instant(late["visible_at"])
    closing = [
        _received(order) - shown
        for order in book
        if (order["client_id"], order["symbol"]) == (late["client_id"], late["symbol"])
        and order["side"] != late["side"]
        and order["filled_quantity"]
        and _received(order) > _received(late)
    ]
    if not closing or min(closing) > CLOSED_WITHIN:
        verdict.problems.append(f"duplicate {late['tag']} was closed after {closing} s")
    return min(closing, default=0.0)


def _judge_alarm(
    intent: dict[str, Any], late: dict[str, Any], causes: tuple[str, ...], verdict: Verdict
) -> None:
    shown = _instant(late["visible_at"])
    raised = [_instant(at) - shown for cause, at in intent["told"].items() if cause in causes]
    if not raised or min(raised) > CLOSED_WITHIN:
        verdict.problems.append(f"order {late['tag']} was told after {raised} s")


def main() -> None:
    """Command line; exit status 1 when anything was not clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--exact", type=int, default=10)
    parser.add_argument("--late", type=int, default=2)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    begun = time.monotonic()
    with FreezeInstallation(PROJECT_ROOT / "var" / "freeze") as installation:
        verdict = play(installation, options.rounds, options.exact, seed, late=options.late)
    print(json.dumps(verdict.figures, indent=1))
    for problem in verdict.problems[:40]:
        print("PROBLEM", problem)
    print(f"{'clean' if verdict.clean else 'NOT CLEAN'} in {time.monotonic() - begun:.0f} s")
    sys.exit(0 if verdict.clean else 1)


if __name__ == "__main__":
    main()
