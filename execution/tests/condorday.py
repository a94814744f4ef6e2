"""An iron condor whose prices come from the feed."""

from __future__ import annotations

from execution.state import LiveRun
from execution.tests.inmemory import live_run
from execution.tests.installation import DAY, Installation
from marketplace.definition import StrategySpec
from marketplace.tests.factories import leg_spec, strategy_spec


def refused(installation: Installation, client_id: str = "") -> int:
    """Calls that broke a limit, at the simulator's own count."""
    rows = installation.control.ask("GET", "/limits")["refused"]
    return sum(row["calls"] for row in rows if client_id in ("", row["client_id"]))


def run_of(strategy: StrategySpec) -> LiveRun:
    return live_run(strategy, trade_date=DAY, resolved={})


def condor(wings: int) -> StrategySpec:
    legs = [
        leg_spec(side, option_type, f"OTM{steps}")
        for option_type in ("CE", "PE")
        for side, steps in (("SELL", wings), ("BUY", wings + 2))
    ]
    return strategy_spec(legs)
