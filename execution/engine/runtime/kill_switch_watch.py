"""The kill switch for the sender: LISTEN plus a 200 ms poll, and the age of the reading.

Unread for more than ``control_age`` seconds it stops entries (CONTROL_UNREACHABLE), never exits
(docs/trading-day.md#kill-switch).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import structlog
from django.db import connection as django_connection

from execution.causes import CONTROL_UNREACHABLE, KILL_SWITCH
from execution.models import KillSwitch
from quantleap.core import clock
from quantleap.core.postgres.link import Link, be_patient

log = structlog.get_logger(__name__)

POLL: Final = 0.2
#: Seconds to wait for an answer: a reading may be five seconds old, a reconnect included.
PATIENCE: Final = 1.5
_QUERY: Final = "SELECT scope, target_id FROM execution_killswitch WHERE released_at IS NULL"


@dataclass(frozen=True, slots=True)
class Control:
    """One reading. ``read_mono`` is when the query was sent."""

    read_mono: float = -1e9
    platform: bool = False
    templates: frozenset[int] = field(default_factory=frozenset)

    def blocked(self, template_id: int, now_mono: float, max_age: float) -> str:
        """'' if an entry of the template may leave, else the cause."""
        if self.platform or template_id in self.templates:
            return KILL_SWITCH
        return CONTROL_UNREACHABLE if now_mono - self.read_mono > max_age else ""


class KillSwitchWatch:
    """Reads the kill switches in a thread with its own connection."""

    def __init__(self) -> None:
        self.current = Control()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control-watch", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; wait up to 2 seconds for the thread to end."""
        self._stop.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        be_patient(PATIENCE)
        while not self._stop.is_set():
            try:
                with Link.connect(**_parameters(), autocommit=True) as link:
                    link.execute(f"LISTEN {KillSwitch.CHANNEL}")
                    self._follow(link)
            except psycopg.Error as error:
                log.warning("control_unreachable", reason=str(error).strip().split("\n")[0])
                self._stop.wait(POLL)

    def _follow(self, link: psycopg.Connection[Any]) -> None:
        while not self._stop.is_set():
            asked = clock.monotonic()
            rows = link.execute(_QUERY).fetchall()
            self.current = Control(
                read_mono=asked,
                platform=any(scope == "PLATFORM" for scope, _ in rows),
                templates=frozenset(target for scope, target in rows if scope == "TEMPLATE"),
            )
            for _ in link.notifies(timeout=POLL, stop_after=1):
                pass


def _parameters() -> dict[str, Any]:
    """Connection parameters of Django's database, for a plain psycopg connection."""
    parameters = dict(django_connection.get_connection_params())
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    return parameters
