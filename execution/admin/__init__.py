"""The console's pages of the trading day."""

from execution.admin import control, executions, runs

__all__ = ["control", "executions", "runs"]
