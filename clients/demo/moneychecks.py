"""Checks of the month: invoices, ledger, payments, commission, documents. Pure.

As in checks.py, each check covers one thing: a surplus invoice fails only ``billed_once``, a
posting out of balance only ``ledger_balances``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

from clients.demo.day import Day
from clients.demo.evidence import Books, Document, Invoice, Month
from clients.demo.money import PERIOD_END, ZERO, Bill, PairKey, bills, payments, settled

Problems = Iterator[str]

# The one finding of the platform's ledger check that concerns surplus invoices.
OVERLAP: Final = "periods of a subscription overlap"
NOT_READ: Final = "the books were not read"


# -- the checks: each yields problems
# ---------------------------------------------------------------
def billed_once(day: Day) -> Problems:
    """Every subscription has exactly the invoice of the story; the second run made none."""
    month, expected = day.evidence.month, bills(day.story)
    if list(month.runs) != [len(expected), 0]:
        runs = ", then ".join(map(str, month.runs)) or "no"
        yield f"the runs made {runs} invoices, the story has {len(expected)}, then 0"
    seen = _by_subscription(month)
    for owed in expected:
        mine = seen.pop(_subscription(day, owed.key), [])
        if len(mine) != 1:
            yield f"{_name(owed)}: {len(mine)} invoices"
        elif not _is_of(mine[0], owed, day):
            yield f"{_name(owed)}: {mine[0].number} over {mine[0].total} is not {owed.total}"
    for strangers in seen.values():
        yield from (f"{invoice.number} is for nobody of the story" for invoice in strangers)
    value = sum((owed.taxable for owed in expected), ZERO)
    yield from _report_has(month, invoices=len(expected), invoiced=value)
    for name, books in _books(month):
        if OVERLAP in books.findings:
            yield f"{name}: the proof says that {OVERLAP}"


def receivable_matches(day: Day) -> Problems:
    """The ledger's receivables equal the sum of the invoices."""
    month = day.evidence.month
    if month.books_billed is None:
        yield NOT_READ
        return
    owed, invoiced = month.books_billed.balance("receivable"), _total(month.billed)
    if owed != invoiced:
        yield f"receivable is {owed}, invoices are {invoiced}"


def ledger_balances(day: Day) -> Problems:
    """All entries add up to 0, also for each posting, and the ledger check has no findings."""
    month = day.evidence.month
    if month.books_billed is None or month.books is None:
        yield NOT_READ
    for name, books in _books(month):
        if books.ledger_sum:
            yield f"{name}: the entries add up to {books.ledger_sum}"
        if books.unbalanced:
            yield f"{name}: {books.unbalanced} postings are out of balance"
        for finding in books.findings:
            if finding != OVERLAP:
                yield f"{name}: the proof says: {finding}"


def payments_settle(day: Day) -> Problems:
    """Each payment counts once, on its invoice; an excess is the customer's credit."""
    month, after = day.evidence.month, settled(day.story)
    first = {subscription: mine[0] for subscription, mine in _by_subscription(month).items()}
    for owed in bills(day.story):
        expected, invoice = after[owed.key], first.get(_subscription(day, owed.key))
        if invoice is None:
            if expected.paid:
                yield f"{_name(owed)}: paid, but without an invoice"
        elif (invoice.status, invoice.paid, invoice.outstanding) != (
            expected.status,
            expected.paid,
            expected.outstanding,
        ):
            stands = f"{invoice.status}, {invoice.paid} paid, {invoice.outstanding} open"
            yield f"{_name(owed)}: {stands}; the story has {expected.paid} paid"
    came = sum((payment.amount for payment in payments(day.story)), ZERO)
    paid = sum((settlement.paid for settlement in after.values()), ZERO)
    yield from _ledger_has(
        month.books,
        receivable=_total(month.billed) - paid,
        customer_credit=paid - came,
        gateway_clearing=came,
    )
    yield from _report_has(month, payments=came)


def commission_matches(day: Day) -> Problems:
    """The partner earned what the story says: by invoice, in the month's report, in the ledger."""
    month = day.evidence.month
    expected = {
        key: settlement.earned
        for key, settlement in settled(day.story).items()
        if settlement.earned
    }
    subscription = {invoice.id: invoice.subscription_id for invoice in month.invoices}
    keys = {_subscription(day, owed.key): owed.key for owed in bills(day.story)}
    seen: dict[PairKey, Decimal] = defaultdict(lambda: ZERO)
    for row in month.commissions:
        seen[keys.get(subscription.get(row.invoice_id, ""), ("nobody", row.id))] += row.amount
    for key in sorted(expected.keys() | seen.keys()):
        if seen.get(key, ZERO) != expected.get(key, ZERO):
            who = " ".join(key)
            yield f"{who}: {seen.get(key, ZERO)} earned, {expected.get(key, ZERO)} by the story"
    total = sum(expected.values(), ZERO)
    yield from _report_has(month, commission=total)
    yield from _ledger_has(month.books, partner_payable_pending=-total, revshare_expense=total)


def invoice_documents(day: Day) -> Problems:
    """A customer's invoice is a PDF, the same bytes each time, and only they can read it."""
    documents = day.evidence.month.documents
    if len(documents) != len({document.number for document in documents}) or len(documents) < 2:
        yield f"{len(documents)} documents were looked at, not one of each kind of tax"
    for document in documents:
        yield from (f"{document.number}: {what}" for what in _wrong(document))


def _wrong(document: Document) -> Problems:
    if document.begins != b"%PDF-":
        yield f"begins with {document.begins!r}"
    if not document.same_again:
        yield "is different the second time"
    if document.status_for_another != 404:
        yield f"another customer got {document.status_for_another}"


# -- figures ---------------------------------------------------------------------------------------
def money_figures(day: Day) -> dict[str, Any]:
    """The figures of the report. Totals of receivable and invoices are from before the payments."""
    month, after = day.evidence.month, settled(day.story)
    billed, books = month.books_billed, month.books
    return {
        "invoices_expected": len(bills(day.story)),
        "invoices": len(month.invoices),
        "invoices_of_second_run": sum(month.runs[1:]),
        "invoice_total": _total(month.billed),
        "receivable_total": None if billed is None else billed.balance("receivable"),
        "ledger_sum": None if books is None else books.ledger_sum,
        "payments": len(payments(day.story)),
        "paid_total": None if month.revenue is None else month.revenue.payments,
        "commission_expected": sum((settlement.earned for settlement in after.values()), ZERO),
        "commission_total": sum((row.amount for row in month.commissions), ZERO),
    }


# -- inside ----------------------------------------------------------------------------------------
def _books(month: Month) -> Iterator[tuple[str, Books]]:
    if month.books_billed is not None:
        yield "billed", month.books_billed
    if month.books is not None:
        yield "paid", month.books


def _ledger_has(books: Books | None, **amounts: Decimal) -> Problems:
    if books is None:
        yield NOT_READ
        return
    for name, amount in amounts.items():
        if books.balance(name) != amount:
            yield f"{name} is {books.balance(name)} in the ledger, {amount} by the story"


def _report_has(month: Month, **amounts: Decimal | int) -> Problems:
    for name, amount in amounts.items():
        said = getattr(month.revenue, name, None)
        if said != amount:
            yield f"{name} are {said} in the partner's month, {amount} by the story"


def _by_subscription(month: Month) -> dict[str, list[Invoice]]:
    """Invoices by subscription, oldest first."""
    by_subscription: dict[str, list[Invoice]] = defaultdict(list)
    for invoice in month.invoices:
        by_subscription[invoice.subscription_id].append(invoice)
    return by_subscription


def _subscription(day: Day, key: PairKey) -> str:
    known = day.evidence.subscriptions.get(key)
    return "" if known is None else known.id


def _is_of(invoice: Invoice, owed: Bill, day: Day) -> bool:
    return (
        invoice.email == owed.customer.email
        and (invoice.period_start, invoice.period_end) == (day.story.day, PERIOD_END)
        and (invoice.taxable, invoice.cgst, invoice.sgst, invoice.igst, invoice.total)
        == (owed.taxable, owed.cgst, owed.sgst, owed.igst, owed.total)
    )


def _total(invoices: Iterable[Invoice]) -> Decimal:
    return sum((invoice.total for invoice in invoices), ZERO)


def _name(owed: Bill) -> str:
    return f"{owed.customer.client_id} {owed.plan.key}"
