"""The billing run: it invoices every due period exactly once, even if it is killed or repeated.

Set-based, in chunks of one transaction each (docs/billing.md#the-run). Repeated, killed or parallel
runs make the same invoices.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Max, QuerySet
from psycopg.types.json import Jsonb

from partners.gst_states import in_force
from quantleap.core import clock
from quantleap.core.clock import ist_date
from quantleap.core.ids import new_event_id
from subscriptions.billing.errors import BillingNotConfigured, FutureDate
from subscriptions.billing.invoicing import number_series, run_sql
from subscriptions.billing.invoicing.amount_in_words import amount_in_words
from subscriptions.billing.invoicing.number_format import INVOICE, financial_year, prefix
from subscriptions.billing.invoicing.snapshots import SupplierSnapshot
from subscriptions.billing.ledger import chart_of_accounts, posting
from subscriptions.billing.models import BillingRun, Supplier
from subscriptions.billing.models.invoices import new_invoice_id

log = structlog.get_logger(__name__)

CHUNK: Final = 1000
#: A run without a heartbeat for so long counts as dead. A chunk takes a second, and every commit is
#: a heartbeat; a run that was only slow shows life again with its next chunk.
SILENCE: Final = dt.timedelta(minutes=5)
#: The accounts of an invoice's credit side, by their parameter in the run's SQL.
_POSTED_TO: Final = {
    "deferred_revenue": chart_of_accounts.DEFERRED_REVENUE,
    "cgst": chart_of_accounts.CGST,
    "sgst": chart_of_accounts.SGST,
    "igst": chart_of_accounts.IGST,
}
# The supplier's data in a document (snapshots.SupplierSnapshot).
_SUPPLIER: Final = tuple(SupplierSnapshot.__annotations__)


@dataclass(frozen=True, slots=True)
class RunResult:
    """Figures of one run. ``withheld`` counts due segments whose customer has no state."""

    run_id: int
    as_of: dt.date
    invoices: int
    needs_review: int
    withheld: int


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Figures of one transaction, and the queue position after it."""

    segments: int
    invoices: int = 0
    needs_review: int = 0
    withheld: int = 0
    after: tuple[dt.date, int] = (dt.date.min, 0)


Progress = Callable[[int], None]


def run(
    as_of: dt.date, *, now: dt.datetime, chunk: int = CHUNK, progress: Progress | None = None
) -> RunResult:
    """Invoice every period that began by ``as_of`` (IST) and was not invoiced yet.

    Must not be called inside a transaction: each chunk of ``chunk`` segments is one. Invoices have
    the date of ``now``; a period that is over by then is marked for review. ``progress`` gets the
    number of invoices of each chunk. Raises FutureDate; BillingNotConfigured.
    """
    if as_of > ist_date(now):
        raise FutureDate(f"{as_of} has not come yet", details={"as_of": "Not after today (IST)."})
    parameters = _prepare(as_of, now, chunk)
    record = BillingRun.objects.create(as_of=as_of, started_at=now, heartbeat=clock.now())
    silent_runs().filter(as_of__lte=as_of).update(
        finished_at=F("heartbeat"), error=f"Interrupted. Run {record.pk} took over."
    )
    try:
        while _pass(record, parameters, progress):
            # Segments that another run had locked may be free again: if that run died, only this
            # one bills them.
            pass
    except (OperationalError, InterfaceError):
        # The database went away or gave up: the run's row stays as last committed, and another run
        # will take over.
        raise
    except Exception as error:
        # Record any error in the run's row; chunks committed before it stay.
        record.error = f"{type(error).__name__}: {error}"[:300]
        # The counts in memory may contain a chunk that was rolled back.
        _finish(record, "error")
        raise
    _finish(record, "invoices", "needs_review", "withheld")
    if record.withheld:
        log.error("billing_withheld", run=record.pk, segments=record.withheld)
    log.info("billing_run", run=record.pk, as_of=str(as_of), invoices=record.invoices)
    return RunResult(record.pk, as_of, record.invoices, record.needs_review, record.withheld)


def silent_runs() -> QuerySet[BillingRun]:
    """Runs without an end or a recent heartbeat: their worker or database was killed."""
    heard = clock.now() - SILENCE
    return BillingRun.objects.filter(finished_at__isnull=True, heartbeat__lt=heard)


def take_over(*, now: dt.datetime, chunk: int = CHUNK) -> RunResult | None:
    """Continue a killed run; None if there is none."""
    as_of = silent_runs().aggregate(last=Max("as_of"))["last"]
    return None if as_of is None else run(as_of, now=now, chunk=chunk)


def _finish(record: BillingRun, *fields: str) -> None:
    record.finished_at = record.heartbeat = clock.now()
    record.save(update_fields=["finished_at", "heartbeat", *fields])


def _prepare(as_of: dt.date, now: dt.datetime, chunk: int) -> dict[str, Any]:
    """Create the number series and accounts that are missing; return what all chunks share.

    Raises BillingNotConfigured.
    """
    today = ist_date(now)
    supplier = Supplier.objects.filter(effective_from__lte=today).first()
    if supplier is None:
        raise BillingNotConfigured(f"no supplier is in force on {today}")
    number_series.ensure_series(INVOICE, financial_year(today))
    with transaction.atomic():
        accounts = posting.account_ids(_POSTED_TO.values())
    return {
        "as_of": as_of,
        "now": now,
        "today": today,
        "chunk": chunk,
        "states": Jsonb(in_force(today)),
        "supplier_id": supplier.pk,
        "supplier_state": supplier.state_code,
        "sac": supplier.sac,
        "supplier": Jsonb({name: getattr(supplier, name) for name in _SUPPLIER}),
        **{name: accounts[code] for name, code in _POSTED_TO.items()},
    }


def _pass(record: BillingRun, parameters: Mapping[str, Any], progress: Progress | None) -> bool:
    """Go through the queue once. Returns whether it made an invoice."""
    after, invoices, record.withheld = (dt.date.min, 0), 0, 0
    while True:
        with transaction.atomic(durable=True):
            figures = _chunk({**parameters, "after_on": after[0], "after_id": after[1]})
            if figures.segments:
                record.invoices += figures.invoices
                record.needs_review += figures.needs_review
                record.withheld += figures.withheld
                record.heartbeat = clock.now()
                record.save()
        invoices += figures.invoices
        if progress is not None and figures.invoices:
            progress(figures.invoices)
        if figures.segments < parameters["chunk"]:
            return invoices > 0
        after = figures.after


def _chunk(parameters: dict[str, Any]) -> _Chunk:
    """One chunk, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(run_sql.KEYS_ONLY)
        cursor.execute(run_sql.DROP)
        cursor.execute(run_sql.DUE, parameters)
        cursor.execute(run_sql.LOOKED_AT)
        segments, withheld, last_on, last_id = cursor.fetchone()
        if not segments:
            return _Chunk(0)
        cursor.execute(run_sql.NEW, parameters)
        cursor.execute(run_sql.TAXED)
        invoices, stale, untaxed = cursor.fetchone()
        if untaxed is not None:
            raise BillingNotConfigured(f"no tax rate is in force on {untaxed}")
        if invoices:
            _issue(cursor, parameters, invoices)
        cursor.execute(run_sql.ADVANCE)
    return _Chunk(segments, invoices, stale, withheld, (last_on, last_id))


def _issue(cursor: Any, parameters: dict[str, Any], count: int) -> None:
    """Write the invoices of ``billing_new``: documents, postings, events."""
    ids = {
        "invoices": [new_invoice_id() for _ in range(count)],
        "events": [new_event_id() for _ in range(count)],
    }
    cursor.execute(run_sql.JOIN_WHOLE)
    cursor.execute(run_sql.NAMED, ids)
    cursor.execute(run_sql.JOIN_BY_KEY)
    cursor.execute(run_sql.TOTALS)
    words = {str(total): amount_in_words(total) for (total,) in cursor.fetchall()}
    cursor.execute(run_sql.ACCOUNTS)
    # From here to the commit all other runs wait for the numbers, and then for the balances.
    fy, first, issued_on = number_series.take(INVOICE, count, today=parameters["today"])
    issue = {
        **parameters,
        "fy": fy,
        "first": first,
        "prefix": prefix(INVOICE, fy),
        "issued_on": issued_on,
        "due_on": issued_on + dt.timedelta(days=settings.QUANTLEAP_INVOICE_DUE_DAYS),
        "words": Jsonb(words),
    }
    cursor.execute(run_sql.INVOICES, issue)
    _post(cursor, issue)
    cursor.execute(run_sql.EVENTS, issue)


def _post(cursor: Any, issue: Mapping[str, Any]) -> None:
    """Post the invoices of ``billing_named``: receivable to deferred revenue and tax."""
    cursor.execute(run_sql.TRANSACTIONS, issue)
    cursor.execute(run_sql.ENTRIES, issue)
