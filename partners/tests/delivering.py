"""A process that delivers webhooks, as the worker does: ``python -m partners.tests.delivering``.

``as_before`` is the control: the former claim, 16 slots for everybody, oldest first.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from typing import Any, Final

import django

_OLDEST_FIRST: Final = """
UPDATE partners_webhookdelivery AS delivery
   SET claimed_until = %(until)s, attempts = attempts + 1
  FROM partners_webhookendpoint AS endpoint
 WHERE endpoint.id = delivery.endpoint_id AND delivery.id = ANY(ARRAY(
       SELECT due.id
         FROM partners_webhookdelivery AS due
        WHERE due.status = 'PENDING'
          AND due.next_attempt_at <= %(now)s
          AND (due.claimed_until IS NULL OR due.claimed_until <= %(now)s)
        ORDER BY due.next_attempt_at
        LIMIT %(limit)s
          FOR UPDATE OF due SKIP LOCKED))
RETURNING delivery.id, delivery.endpoint_id, endpoint.partner_id, endpoint.environment, FALSE,
          delivery.event_id, delivery.body, delivery.attempts, delivery.claimed_until
"""


def main(as_before: bool) -> None:
    """Deliver what is due until somebody ends this process."""
    django.setup()
    from django.db import connection

    from partners.webhooks import claims, delivery
    from quantleap.core import clock

    def oldest_first(*, now: dt.datetime, limit: int, slots: claims.Slots) -> list[claims.Claimed]:
        room = 16 - slots.tenants.total()
        values: dict[str, Any] = {
            "now": now,
            "until": now + claims.CLAIM,
            "limit": min(limit, room),
        }
        with connection.cursor() as cursor:
            cursor.execute(_OLDEST_FIRST, values)
            return [claims.Claimed(*row) for row in cursor.fetchall()]

    if as_before:
        vars(delivery)["claim"] = oldest_first
    while True:
        delivery.deliver_due(now=clock.now())
        time.sleep(0.1)


if __name__ == "__main__":
    main("as_before" in sys.argv)
