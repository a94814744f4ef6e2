"""Which kind of process the settings are loaded in: its database limits hang on it."""

from __future__ import annotations

import enum
import os
from typing import Final

#: Set by the entry points before settings are loaded; nobody else sets it.
PROCESS: Final = "QUANTLEAP_PROCESS"


class ProcessKind(enum.Enum):
    """What a process does. The supervisor's children are told apart by their entry points."""

    WEB = "web"
    WORKER = "worker"
    EXECUTOR = "executor"
    COMMAND = "command"


def process_kind() -> ProcessKind:
    """The kind of this process; a command (tests, shells) unless its entry point said so."""
    return ProcessKind(os.environ.get(PROCESS) or ProcessKind.COMMAND.value)
