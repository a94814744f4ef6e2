"""Console pages of the trading day."""

from execution.admin import alarms, control, executions, runs

__all__ = ["alarms", "control", "executions", "runs"]
