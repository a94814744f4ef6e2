"""The kind of process in which the settings are loaded, which determines its database limits."""

from __future__ import annotations

import enum
import os
from typing import Final

#: Set by the entry points before settings are loaded, and by nothing else.
PROCESS: Final = "QUANTLEAP_PROCESS"


class ProcessKind(enum.Enum):
    """What a process does. Entry points distinguish the supervisor's children."""

    WEB = "web"
    WORKER = "worker"
    EXECUTOR = "executor"
    COMMAND = "command"


def process_kind() -> ProcessKind:
    """The kind of this process; a command (tests, shells) unless its entry point said so."""
    return ProcessKind(os.environ.get(PROCESS) or ProcessKind.COMMAND.value)
