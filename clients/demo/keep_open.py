"""Keep an installation open for people to look at, until Ctrl-C."""

from __future__ import annotations

import signal
import time
from typing import Final

from clients.demo.installation import Installation, InstallationError

POLL: Final = 0.5
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def welcome(installation: Installation, username: str, password: str) -> list[str]:
    """Addresses to open and the logins for them."""
    return [
        "",
        f"Console   {installation.url}/admin/   {username} / {password}",
        f"API docs  {installation.url}/api/v1/docs",
        "",
        "Ctrl-C stops everything.",
    ]


def interrupt_on_signals() -> None:
    """Handle a closed terminal and a plain ``kill`` like Ctrl-C: stop in order.

    Under ``nohup`` a closed terminal stays ignored.
    """
    for number in SIGNALS:
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue
        signal.signal(number, signal.default_int_handler)


def stay_open(installation: Installation, *, until: float | None = None) -> bool:
    """Wait for Ctrl-C (at most ``until``, monotonic seconds), as long as the installation is up.

    The installation restarts parts that end. Raises InstallationError if all of it has ended.
    Returns True on Ctrl-C, False when the time is over.
    """
    try:
        while until is None or time.monotonic() < until:
            if not installation.is_up():
                raise InstallationError(f"the installation ended by itself{installation.tail()}")
            time.sleep(POLL)
    except KeyboardInterrupt:
        return True
    return False
