"""Leaves an installation open for people to look at, until Ctrl-C."""

from __future__ import annotations

import signal
import time
from typing import Final

from clients.demo.installation import Installation, InstallationError

POLL: Final = 0.5
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def welcome(installation: Installation, username: str, password: str) -> list[str]:
    """Where to look and as whom."""
    return [
        "",
        f"Console   {installation.url}/admin/   {username} / {password}",
        f"API docs  {installation.url}/api/v1/docs",
        "",
        "Ctrl-C stops everything.",
    ]


def interrupt_on_signals() -> None:
    """A closed terminal and a plain ``kill`` end us as Ctrl-C does: in order.

    Under ``nohup`` a closed terminal stays ignored.
    """
    for number in SIGNALS:
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue
        signal.signal(number, signal.default_int_handler)


def stay_open(installation: Installation, *, until: float | None = None) -> bool:
    """Wait for Ctrl-C (at most ``until``, monotonic seconds), as long as the installation is up.

    Parts that end are started again by the installation itself. InstallationError when all of it
    has ended. Returns on Ctrl-C (True), and when the time is over (False).
    """
    try:
        while until is None or time.monotonic() < until:
            if not installation.is_up():
                raise InstallationError(f"the installation ended by itself{installation.tail()}")
            time.sleep(POLL)
    except KeyboardInterrupt:
        return True
    return False
