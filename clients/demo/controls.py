"""``make demo-controls``: breaks one thing at a time, and wants exactly its check to notice.

A check that cannot fail proves nothing. Each control plays a smaller story against an installation
with one deliberate fault (``QUANTLEAP_FAULT``, refused in production).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clients.demo.installation import ROOT, tail
from clients.demo.progress import say

CONTROLS: Final = {
    "none": "",
    "send_twice": "no_duplicates",
    "send_early": "none_early",
    "drop_intent": "planned_as_expected",
    "skip_exit": "flat_after_exit",
    "skip_webhook": "webhooks_complete",
    "ignore_unknown": "all_final",
    "split_account": "two_partners_one_account",
    "bill_twice": "billed_once",
    "unbalanced_entry": "ledger_balances",
}
STORY: Final = (
    *("--zebu", "24", "--zerodha", "8"),
    *("--clock-start", "09:18:10", "--hold", "36"),
)


@dataclass(frozen=True)
class Outcome:
    """The result of one control. ``failed`` is None if the demo did not finish."""

    fault: str
    failed: tuple[str, ...] | None
    seconds: float
    log: Path

    @property
    def wanted(self) -> tuple[str, ...]:
        """The checks that should be false."""
        return tuple(filter(None, (CONTROLS[self.fault],)))

    @property
    def passed(self) -> bool:
        """Whether exactly those are false."""
        return self.failed == self.wanted


def control(fault: str, folder: Path) -> Outcome:
    """Play the small story with one fault (``none``: without)."""
    base_dir = folder / fault
    base_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    written, log = base_dir / "report.json", base_dir / "story.log"
    written.unlink(missing_ok=True)
    environment = {**os.environ, "QUANTLEAP_FAULT": "" if fault == "none" else fault}
    began = time.monotonic()
    with log.open("wb") as output:
        subprocess.run(
            (sys.executable, "-m", "clients.demo.run", "--base-dir", str(base_dir), *STORY),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    failed: tuple[str, ...] | None = None
    if written.exists():
        checks = json.loads(written.read_text())["checks"]
        failed = tuple(name for name, holds in checks.items() if not holds)
    return Outcome(fault, failed, time.monotonic() - began, log)


def row(outcome: Outcome) -> str:
    """One line of the table."""
    expected = ", ".join(outcome.wanted) or "all checks hold"
    failed = "did not finish" if outcome.failed is None else ", ".join(outcome.failed) or "none"
    verdict = "ok" if outcome.passed else "FAIL"
    words = f"{outcome.fault:<16} {expected:<24} {failed:<34}"
    return f"  {words} {outcome.seconds:>5.0f} s  {verdict}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 only if in every control exactly the expected checks failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="CONTROL", help=", ".join(CONTROLS))
    parser.add_argument("--base-dir", type=Path, default=ROOT / "var" / "demo-controls")
    options = parser.parse_args(arguments)
    unknown = set(options.only) - set(CONTROLS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    say(f"  {'broken':<16} {'must turn false':<24} {'turned false':<34}    took")
    outcomes = []
    for fault in options.only or CONTROLS:
        outcome = control(fault, options.base_dir.absolute())
        outcomes.append(outcome)
        say(row(outcome))
        if not outcome.passed:
            say(f"      {outcome.log}{tail(outcome.log, lines=25)}")
    passed = sum(outcome.passed for outcome in outcomes)
    say(f"  {passed} of {len(outcomes)} controls pass")
    return 0 if passed == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
