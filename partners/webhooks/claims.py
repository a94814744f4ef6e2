"""Which due deliveries are posted next: fair between endpoints, and between partners (adr 0063).

Slots are bounded per endpoint, per partner and environment, and in all. The bounds hold for one
process; several processes never claim the same delivery (SKIP LOCKED), but each has slots of its
own.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connection

from partners.webhooks.http import TOTAL_SECONDS

#: Posts that one process has in progress at most. A post costs a socket and at most 100 kB.
SLOTS: Final = 256
#: ... for one partner in one environment,
PER_PARTNER: Final = 64
#: ... of these to endpoints that are failing,
PROBES_PER_PARTNER: Final = 16
#: ... for one endpoint,
PER_ENDPOINT: Final = 8
#: ... and for one endpoint that is failing: a probe that shows whether it is back.
PER_FAILING_ENDPOINT: Final = 1
# Everything claimed is posted at once, so a claim lasts as long as the longest post plus time to
# record.
CLAIM: Final = dt.timedelta(seconds=TOTAL_SECONDS + 30)

# ``waiting`` jumps from endpoint to endpoint in delivery_queue_idx, and ``due`` reads the first few
# rows of each: the cost depends on the number of endpoints with pending rows, not on their backlog.
# The limit within ``due`` is a constant, so that the planner prefers the index's order to sorting a
# backlog even if it knows nothing about the table yet; ``room`` applies afterwards.
# ``turn`` deals the slots out: each partner's first delivery, then each partner's second ...
_CLAIM_DUE: Final = """
WITH RECURSIVE waiting (endpoint_id) AS (
       (SELECT endpoint_id
          FROM partners_webhookdelivery
         WHERE status = 'PENDING'
         ORDER BY endpoint_id
         LIMIT 1)
       UNION ALL
       SELECT (SELECT later.endpoint_id
                 FROM partners_webhookdelivery AS later
                WHERE later.status = 'PENDING' AND later.endpoint_id > waiting.endpoint_id
                ORDER BY later.endpoint_id
                LIMIT 1)
         FROM waiting
        WHERE waiting.endpoint_id IS NOT NULL
), open_endpoint AS (
       SELECT endpoint.id, endpoint.partner_id, endpoint.environment,
              endpoint.failing_since IS NOT NULL AS probe,
              CASE WHEN endpoint.failing_since IS NULL THEN %(per_endpoint)s
                   ELSE %(per_failing_endpoint)s END - coalesce(busy.posts, 0) AS room
         FROM waiting
         JOIN partners_webhookendpoint AS endpoint
           ON endpoint.id = waiting.endpoint_id AND endpoint.status = 'ENABLED'
         JOIN partners_partner AS partner
           ON partner.id = endpoint.partner_id AND partner.status = 'ACTIVE'
         LEFT JOIN unnest(%(endpoints)s::bigint[], %(endpoint_posts)s::int[])
           AS busy (endpoint_id, posts) ON busy.endpoint_id = endpoint.id
), candidate AS (
       SELECT due.id, due.next_attempt_at, endpoint.partner_id, endpoint.environment,
              endpoint.probe, endpoint.room,
              row_number() OVER (PARTITION BY endpoint.id
                                 ORDER BY due.next_attempt_at, due.id) AS place
         FROM open_endpoint AS endpoint
        CROSS JOIN LATERAL (
              SELECT first.id, first.next_attempt_at
                FROM partners_webhookdelivery AS first
               WHERE first.endpoint_id = endpoint.id
                 AND first.status = 'PENDING'
                 AND first.next_attempt_at <= %(now)s
                 AND (first.claimed_until IS NULL OR first.claimed_until <= %(now)s)
               ORDER BY first.next_attempt_at, first.id
               LIMIT %(per_endpoint)s) AS due
), probed AS (
       SELECT candidate.*,
              row_number() OVER (PARTITION BY partner_id, environment, probe
                                 ORDER BY place, next_attempt_at, id) AS probe_turn
         FROM candidate
        WHERE place <= room
), dealt AS (
       SELECT probed.id, probed.next_attempt_at, coalesce(busy.posts, 0) AS posts,
              row_number() OVER (PARTITION BY probed.partner_id, probed.environment
                                 ORDER BY probe, place, next_attempt_at, id) AS turn
         FROM probed
         LEFT JOIN unnest(%(partners)s::bigint[], %(environments)s::text[],
                          %(partner_posts)s::int[], %(partner_probes)s::int[])
           AS busy (partner_id, environment, posts, probes)
           ON busy.partner_id = probed.partner_id AND busy.environment = probed.environment
        WHERE NOT probe OR probe_turn <= %(probes_per_partner)s - coalesce(busy.probes, 0)
), chosen AS (
       SELECT id
         FROM dealt
        WHERE turn <= %(per_partner)s - posts
        ORDER BY turn + posts, next_attempt_at, id
        LIMIT %(limit)s
), locked AS (
       SELECT due.id
         FROM partners_webhookdelivery AS due
        WHERE due.id IN (SELECT id FROM chosen)
          AND due.status = 'PENDING'
          AND due.next_attempt_at <= %(now)s
          AND (due.claimed_until IS NULL OR due.claimed_until <= %(now)s)
          FOR UPDATE OF due SKIP LOCKED
)
UPDATE partners_webhookdelivery AS delivery
   SET claimed_until = %(until)s, attempts = attempts + 1
  FROM partners_webhookendpoint AS endpoint
 WHERE delivery.id = ANY(ARRAY(SELECT id FROM locked)) AND endpoint.id = delivery.endpoint_id
RETURNING delivery.id, delivery.endpoint_id, endpoint.partner_id, endpoint.environment,
          endpoint.failing_since IS NOT NULL, delivery.event_id, delivery.body, delivery.attempts,
          delivery.claimed_until
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process has claimed until ``until``; ``attempt`` counts from 1.

    ``probe``: its endpoint was failing.
    """

    id: int
    endpoint_id: int
    partner_id: int
    environment: str
    probe: bool
    event_id: str
    body: str
    attempt: int
    until: dt.datetime

    @property
    def tenant(self) -> tuple[int, str]:
        """Whose share of the slots it takes."""
        return self.partner_id, self.environment


@dataclass(slots=True)
class Slots:
    """The posts in progress in this process. Safe to use from several threads."""

    endpoints: Counter[int] = field(default_factory=Counter)
    tenants: Counter[tuple[int, str]] = field(default_factory=Counter)
    probes: Counter[tuple[int, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, claimed: Iterable[Claimed]) -> None:
        """Count deliveries that are about to be posted."""
        with self._lock:
            for delivery in claimed:
                self.endpoints[delivery.endpoint_id] += 1
                self.tenants[delivery.tenant] += 1
                self.probes[delivery.tenant] += delivery.probe

    def free(self, claimed: Iterable[Claimed]) -> None:
        """Take back what :meth:`take` counted."""
        with self._lock:
            for delivery in claimed:
                _less(self.endpoints, delivery.endpoint_id, 1)
                _less(self.tenants, delivery.tenant, 1)
                _less(self.probes, delivery.tenant, int(delivery.probe))

    @property
    def room(self) -> int:
        """How many more posts may begin."""
        with self._lock:
            return SLOTS - self.tenants.total()

    def parameters(self) -> dict[str, Any]:
        """The posts in progress, as arrays for the claim."""
        with self._lock:
            tenants = list(self.tenants)
            return {
                "endpoints": list(self.endpoints),
                "endpoint_posts": list(self.endpoints.values()),
                "partners": [partner_id for partner_id, _ in tenants],
                "environments": [environment for _, environment in tenants],
                "partner_posts": [self.tenants[tenant] for tenant in tenants],
                "partner_probes": [self.probes[tenant] for tenant in tenants],
            }


def _less(counter: Counter[Any], key: Hashable, by: int) -> None:
    counter[key] -= by
    if counter[key] <= 0:
        del counter[key]


def claim(*, now: dt.datetime, limit: int, slots: Slots | None = None) -> list[Claimed]:
    """Claim at most ``limit`` due deliveries (one UPDATE), of each endpoint the oldest first.

    Only of enabled endpoints, and of partners that are not suspended. ``slots`` are the posts in
    progress, nothing by default. While few slots are left nobody gets more than half of them, and
    a partner gets one only if it has fewer in progress than are left: so one is always left for a
    partner that has none.
    """
    slots = slots or Slots()
    room = slots.room
    bounded = min(limit, (room + 1) // 2)
    if bounded <= 0:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM_DUE,
            {
                "now": now,
                "until": now + CLAIM,
                "limit": bounded,
                "per_endpoint": PER_ENDPOINT,
                "per_failing_endpoint": PER_FAILING_ENDPOINT,
                "per_partner": min(PER_PARTNER, room),
                "probes_per_partner": PROBES_PER_PARTNER,
                **slots.parameters(),
            },
        )
        return [Claimed(*row) for row in cursor.fetchall()]
