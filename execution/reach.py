"""What a suspension of a partner would affect: counts of its customers' executions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.db.models import Count, Q

from execution.models import Execution
from partners.ports import Figure
from quantleap.core.clock import ist_date
from quantleap.core.tenancy import Environment

_OPEN: Final = Q(status__in=Execution.WORKING)


def reach(partner_id: int, now: dt.datetime) -> Sequence[Figure]:
    """The number of open executions, and of those armed for today, by environment (1 query)."""
    armed = Q(status=Execution.Status.ARMED, run__trade_date=ist_date(now))
    rows = (
        Execution.objects.filter(_OPEN | armed, partner_id=partner_id)
        .order_by()
        .values_list("environment")
        .annotate(open=Count("pk", filter=_OPEN), armed=Count("pk", filter=armed))
    )
    counts = {environment: (opened, waiting) for environment, opened, waiting in rows}
    live, test = (
        counts.get(environment, (0, 0)) for environment in (Environment.LIVE, Environment.TEST)
    )
    return [
        Figure("Open executions", f"{live[0]:,}", f"{test[0]:,}"),
        Figure("Armed for today", f"{live[1]:,}", f"{test[1]:,}"),
    ]
