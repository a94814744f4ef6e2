"""The section "Trading day" of the console's sidebar."""

from __future__ import annotations

from typing import Final

from quantleap.core.console import Link, Section

TRADING_DAY: Final = Section(
    "Trading day",
    (
        Link("Runs", "bolt", "execution.Run"),
        Link("Executions", "group", "execution.Execution"),
        Link("Orders", "receipt_long", "execution.OrderIntent"),
        Link("Alarms", "notifications", "execution.Alarm"),
        Link("Kill switch", "dangerous", "execution.KillSwitch"),
        Link("Executors", "memory", "execution.ExecutorNode"),
    ),
)
