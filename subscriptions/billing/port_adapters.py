"""Billing's part at the ports of the rooms below it (subscriptions.ports, marketplace.ports)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Final

from partners.gst_states import refusal
from quantleap.core.errors import InvalidRequest
from subscriptions.billing import reports, selectors
from subscriptions.billing.invoicing import segments
from subscriptions.billing.settlement import balance_due, debts, withdrawal_credits
from subscriptions.models import Subscription
from subscriptions.ports import BalanceDue, RevenueShares, S


class BillingOfSubscriptions:
    """Segments, credits and debts; see :class:`subscriptions.ports.Billing` for each method."""

    def open_segments(self, subscriptions: Collection[Subscription]) -> None:
        """See :func:`subscriptions.billing.invoicing.segments.open_first`."""
        segments.open_first(subscriptions)

    def stop(self, subscription_ids: Collection[int], *, on: dt.date) -> None:
        """See :func:`subscriptions.billing.invoicing.segments.stop`."""
        segments.stop(subscription_ids, on=on)

    def resume(
        self, subscriptions: Collection[Subscription], *, on: dt.date
    ) -> Mapping[int, dt.date]:
        """See :func:`subscriptions.billing.invoicing.segments.resume`."""
        return segments.resume(subscriptions, on=on)

    def expect_credits(
        self, cancelled: Iterable[Subscription], *, on: dt.date, now: dt.datetime
    ) -> None:
        """See :func:`subscriptions.billing.settlement.withdrawal_credits.expect`."""
        withdrawal_credits.expect(cancelled, on=on, now=now)

    def refuse_debtor(self, subscription: Subscription, today: dt.date) -> None:
        """See :func:`subscriptions.billing.settlement.debts.refuse_debtor`."""
        debts.refuse_debtor(subscription, today)

    def with_balance_due(self, rows: S) -> S:
        """See :func:`subscriptions.billing.settlement.balance_due.with_balance_due`."""
        return balance_due.with_balance_due(rows)

    def balance_due(self, subscription: Subscription, today: dt.date) -> BalanceDue:
        """See :func:`subscriptions.billing.settlement.balance_due.balance_due`."""
        return balance_due.balance_due(subscription, today)

    def next_period(self, subscription: Subscription, today: dt.date) -> dt.date | None:
        """See :func:`subscriptions.billing.settlement.balance_due.next_period`."""
        return balance_due.next_period(subscription, today)

    def shares_to_date(self, subscription_id: int, payee: int | None) -> RevenueShares:
        """See :func:`subscriptions.billing.reports.shares_to_date`."""
        return reports.shares_to_date(subscription_id, payee)


class TaxTable:
    """The tax rates of invoices."""

    def rate_on(self, day: dt.date) -> Decimal | None:
        """See :func:`subscriptions.billing.selectors.tax_rate_on`."""
        return selectors.tax_rate_on(day)

    def within_state(
        self,
        day: dt.date,
        *,
        customer_id: int | None = None,
        state: str = "",
    ) -> bool:
        """See :func:`subscriptions.billing.selectors.within_state`; a typed state goes first."""
        if words := refusal(state, day) if state else "":
            raise InvalidRequest(f"state: {words}", details={"state": words})
        return selectors.within_state(day, customer_id=customer_id, state=state)


BILLING_OF_SUBSCRIPTIONS: Final = BillingOfSubscriptions()
TAX_TABLE: Final = TaxTable()
