"""Billing's tiles on the console's first page: last run, withheld segments, ledger check."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final

from django.http import HttpRequest
from django.urls import reverse

from quantleap.core import clock
from quantleap.core.console import Panel, Tile
from quantleap.core.counts import counted
from quantleap.core.dates import day_text, moment_text
from subscriptions.billing.invoicing.runs import SILENCE
from subscriptions.billing.models import BillingRun, LedgerCheck
from subscriptions.billing.selectors import withheld_segments

#: The daily run and check are at 04:30 and 05:10 IST; after a day and a half they count as missing.
_LATE: Final = dt.timedelta(hours=36)


def tiles(request: HttpRequest, now: dt.datetime) -> Sequence[Tile | Panel]:
    """The tiles that the user may view (3 queries). No withheld segments: no tile for them."""
    user = request.user
    tiles: dict[str, Callable[[dt.datetime], Tile | None]] = {
        "billing.view_billingrun": _run_tile,
        "billing.view_billingsegment": _withheld_tile,
        "billing.view_ledgercheck": _check_tile,
    }
    shown = (tile(now) for right, tile in tiles.items() if user.has_perm(right))
    return [tile for tile in shown if tile is not None]


def run_state(run: BillingRun, now: dt.datetime) -> str:
    """The run's state. Silent: it was killed, and within a minute another run takes over."""
    if run.finished_at is not None:
        return "failed" if run.error else "finished"
    return "silent" if run.heartbeat < now - SILENCE else "running"


def _run_tile(now: dt.datetime) -> Tile:
    run = BillingRun.objects.order_by("-id").first()
    link = reverse("admin:billing_billingrun_changelist")
    if run is None:
        return Tile("Billing run", "None yet", "the first is at 04:30 IST", link)
    note = f"as of {day_text(run.as_of, year=False)}: {counted(run.invoices, 'invoice')}"
    if run.withheld:
        note += f", {run.withheld} withheld"
    state = run_state(run, now)
    if state in ("failed", "silent") or run.started_at < now - _LATE:
        tone = "bad"
    else:
        tone = "warn" if run.withheld else "good"
    return Tile("Billing run", state.capitalize(), note, link, tone)


def _withheld_tile(now: dt.datetime) -> Tile | None:
    today = clock.ist_date(now)
    count = withheld_segments(today, today).count()
    if not count:
        return None
    address = reverse("admin:billing_billingsegment_changelist")
    return Tile(
        "Withheld",
        f"{count:,}",
        "due, and the customer's GST state is missing",
        f"{address}?withheld=state",
        "warn",
    )


def _check_tile(now: dt.datetime) -> Tile:
    check = LedgerCheck.objects.order_by("-id").first()
    link = reverse("admin:billing_ledgercheck_changelist")
    if check is None:
        return Tile("Ledger checks", "None yet", "the first is at 05:10 IST", link)
    late = check.checked_at < now - _LATE
    return Tile(
        "Ledger checks",
        "Passed" if check.ok else "Failed",
        f"checked {moment_text(check.checked_at, year=False)}"
        + (": the newest is missing" if late else ""),
        link,
        "good" if check.ok and not late else "bad",
    )
