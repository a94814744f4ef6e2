"""Searches of the console's lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.db.models import Q

from partners.selectors import customer_keys, customers_like
from quantleap.core.identifiers import ascii_upper
from quantleap.core.large_lists import MOST_FOUND, first_keys
from subscriptions.billing.invoicing.number_format import document_number
from subscriptions.billing.ledger import chart_of_accounts
from subscriptions.billing.models import CreditNote, Invoice, NumberSeries

_DIGITS: Final = 8


def numbers_like(term: str, series: str) -> Q:
    """Filter: numbers that begin with ``term``, or have it as sequence number in any year."""
    by_prefix = Q(number__startswith=ascii_upper(term))
    if not (term.isascii() and term.isdigit() and int(term) and len(term) <= _DIGITS):
        return by_prefix
    years = NumberSeries.objects.filter(series=series).values_list("fy", flat=True)
    return by_prefix | Q(number__in=[document_number(series, fy, int(term)) for fy in years])


def invoice_keys(term: str) -> Iterable[int]:
    """Keys of invoices by :func:`numbers_like`."""
    return first_keys(Invoice.objects.filter(numbers_like(term, NumberSeries.Series.INVOICE)))


def customers_invoice_keys(term: str) -> Iterable[int]:
    """Keys of the invoices of customers that ``term`` matches."""
    owners = list(customer_keys(term))
    return first_keys(Invoice.objects.filter(customer_id__in=owners)) if owners else ()


def credit_note_keys(term: str) -> Iterable[int]:
    """Keys of credit notes by :func:`numbers_like`."""
    condition = numbers_like(term, NumberSeries.Series.CREDIT_NOTE)
    return first_keys(CreditNote.objects.filter(condition))


def customers_account_codes(term: str) -> list[str]:
    """Codes of the ledger accounts of customers that ``term`` matches."""
    customer_ids = customers_like(term).values_list("public_id", flat=True)[: MOST_FOUND // 2 + 1]
    return [
        code(customer_id)
        for customer_id in customer_ids
        for code in (chart_of_accounts.customer_credit, chart_of_accounts.receivable)
    ]
