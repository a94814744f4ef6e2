"""Runs inside the installation under test: sets rounds up and tells what its database says.

One JSON object per line in, one out. The test process itself has another database; and this one's
servers are killed under it, so every request is tried again until the database is back.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from typing import Any

import django

django.setup()

from django.db import InterfaceError, OperationalError, connection  # noqa: E402

from execution.alarms import LEFT_LATE  # noqa: E402
from execution.models import (  # noqa: E402
    Alarm,
    Execution,
    ExecutorNode,
    OrderIntent,
    Run,
    ShardLease,
)
from execution.tests.factories import (  # noqa: E402
    log_in,
    make_accounts,
    make_partner,
    subscribe_accounts,
)
from execution.tests.installation import Control, load_market  # noqa: E402
from marketplace.tests.factories import make_iron_condor  # noqa: E402
from quantleap.core import clock  # noqa: E402


class Driver:
    """The commands; their names are the method names."""

    def __init__(self, control_url: str) -> None:
        self.control = Control(control_url)
        self.accounts: list[Any] = []

    def prepare(self, subscribers: int) -> dict[str, Any]:
        """Contracts, feed and logged-in customers."""
        load_market(self.control, clock.now())
        self.accounts = make_accounts(
            subscribers, partner=make_partner(), brokers=("zebu", "zerodha")
        )
        log_in(self.accounts, self.control.token, clock.now())
        return {"accounts": len(self.accounts)}

    def round(self, lead: float, hold: float) -> dict[str, Any]:
        """A new iron condor for all customers, entering ``lead`` seconds from now."""
        entry = clock.to_ist(clock.now() + dt.timedelta(seconds=lead + 1)).replace(microsecond=0)
        template = make_iron_condor(
            strategy={
                "entry_time": entry.time(),
                "exit_time": (entry + dt.timedelta(seconds=hold)).time(),
            }
        )
        subscribe_accounts(template, self.accounts)
        return {"template": template.pk, "until_entry": entry.timestamp() - clock.timestamp()}

    def state(self, template: int) -> dict[str, Any]:
        """How far a round's run is."""
        run = Run.objects.filter(template_id=template).first()
        if run is None:
            return {"status": "", "unfinished": -1}
        intents = OrderIntent.objects.filter(run=run)
        return {
            "status": run.status,
            "cause": run.cause,
            "executions": self._counts(Execution.objects.filter(run=run), "status"),
            "states": self._counts(intents, "state"),
            "left_late": Alarm.objects.filter(execution__run=run, cause=LEFT_LATE).count(),
            "given_up": intents.filter(purpose="EXIT", state="MISSED", sends__gt=0).count(),
            "unfinished": intents.exclude(state__in=OrderIntent.FINAL).count()
            + Execution.objects.filter(run=run)
            .exclude(status__in=[*Execution.TERMINAL, "OPEN"])
            .count(),
        }

    @staticmethod
    def _counts(rows: Any, column: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for value in rows.values_list(column, flat=True):
            counts[value] = counts.get(value, 0) + 1
        return counts

    def executors(self) -> dict[str, Any]:
        """Process ids of the executors that live; their owners' names carry them."""
        owners = ExecutorNode.objects.order_by("-heartbeat_at").values_list("owner", flat=True)
        return {"pids": [int(owner.split(":")[1]) for owner in owners]}

    def owned(self, pid: int) -> dict[str, Any]:
        """How many shards the executor with this process id holds."""
        return {"shards": ShardLease.objects.filter(owner__contains=f":{pid}:").count()}

    def clocks(self) -> dict[str, Any]:
        """How far each executor's clock is off (ms), and whose the shards are, by process id."""
        nodes = ExecutorNode.objects.exclude(clock_offset_ms=None)
        owners = ShardLease.objects.exclude(owner="").values_list("owner", flat=True)
        return {
            "offsets": {node.owner.split(":")[1]: node.clock_offset_ms for node in nodes},
            "owners": [owner.split(":")[1] for owner in owners],
        }

    def intents(self) -> dict[str, Any]:
        """Every intent, for comparison with the broker's book."""
        rows = (
            OrderIntent.objects.select_related("run", "execution", "account")
            .prefetch_related("execution__alarms")
            .order_by("id")
        )
        return {
            "intents": [
                {
                    "code": i.code,
                    "tag": i.tag,
                    "state": i.state,
                    "sends": i.sends,
                    "purpose": i.purpose,
                    "filled": i.filled_quantity,
                    "quantity": i.quantity,
                    "cause": i.cause,
                    "entry_at": i.run.entry_at.isoformat(),
                    "status": i.execution.status,
                    "over_at": over.isoformat() if (over := i.execution.closed_at) else "",
                    "execution": i.execution.public_id,
                    "client": i.account.client_id,
                    "told": {a.cause: a.raised_at.isoformat() for a in i.execution.alarms.all()},
                }
                for i in rows
            ],
            "executions": [
                {"status": e.status, "cause": e.cause, "run": e.run.public_id}
                for e in Execution.objects.select_related("run")
            ],
        }


def main() -> None:
    """Serve until the input ends."""
    driver = Driver(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        name = request.pop("do")
        while True:
            try:
                answer = getattr(driver, name)(**request)
            except (OperationalError, InterfaceError):
                connection.close()
                time.sleep(0.2)
                continue
            break
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
