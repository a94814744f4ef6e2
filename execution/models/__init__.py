"""The trading day: runs, executions, order intents, leases, kill switches."""

from execution.models.alarms import Alarm
from execution.models.control import BookLag, ExecutorNode, KillSwitch, ShardLease
from execution.models.orders import OrderIntent
from execution.models.runs import Execution, LegWatch, Run, RunDecision

__all__ = [
    "Alarm",
    "BookLag",
    "Execution",
    "ExecutorNode",
    "KillSwitch",
    "LegWatch",
    "OrderIntent",
    "Run",
    "RunDecision",
    "ShardLease",
]
