"""A perfect month, made up from the story, and ways in which money goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from clients.demo.evidence import Books, Commission, Document, Evidence, Invoice, Month, Revenue
from clients.demo.money import PERIOD_END, ZERO, bills, payments, settled
from clients.demo.moneychecks import OVERLAP
from clients.demo.story import DAY, Story

PAISA: Final = Decimal("0.01")


def perfect_month(story: Story) -> Month:
    """Billed, paid and booked as the story has it. Subscriptions are named as in days.py."""
    expected, after = bills(story), settled(story)
    billed = [
        Invoice(
            id=f"inv_{number}",
            number=f"QL26-{number:08d}",
            email=owed.customer.email,
            subscription_id=f"sub_{owed.customer.number}_{owed.plan.key}",
            status="DUE",
            period_start=DAY,
            period_end=PERIOD_END,
            taxable=owed.taxable,
            cgst=owed.cgst,
            sgst=owed.sgst,
            igst=owed.igst,
            total=owed.total,
            paid=ZERO,
            outstanding=owed.total,
        )
        for number, owed in enumerate(expected, start=1)
    ]
    ends = [after[owed.key] for owed in expected]
    total = sum((invoice.total for invoice in billed), ZERO)
    came = sum((payment.amount for payment in payments(story)), ZERO)
    paid = sum((settlement.paid for settlement in ends), ZERO)
    earned = sum((settlement.earned for settlement in ends), ZERO)
    balances = {
        "receivable": total - paid,
        "customer_credit": paid - came,
        "gateway_clearing": came,
        "partner_payable_pending": -earned,
        "revshare_expense": earned,
    }
    return Month(
        runs=[len(expected), 0],
        billed=billed,
        books_billed=Books(ZERO, 0, {"receivable": total}, ()),
        invoices=[
            replace(invoice, status=end.status, paid=end.paid, outstanding=end.outstanding)
            for invoice, end in zip(billed, ends, strict=True)
        ],
        books=Books(ZERO, 0, balances, ()),
        commissions=[
            Commission(f"com_{invoice.id}", "ACCRUAL", invoice.id, end.earned)
            for invoice, end in zip(billed, ends, strict=True)
            if end.earned
        ],
        revenue=Revenue(
            len(expected), sum((owed.taxable for owed in expected), ZERO), came, earned
        ),
        documents=[
            Document(invoice.number, b"%PDF-", 40_000, same_again=True, status_for_another=404)
            for invoice in (billed[0], next(invoice for invoice in billed if invoice.igst))
        ],
    )


# -- ways to spoil it ------------------------------------------------------------------------------
def bill_twice(evidence: Evidence) -> None:
    """The last subscription's month once more: booked, reported and told like any other."""
    month = evidence.month
    assert month.books is not None
    assert month.books_billed is not None
    assert month.revenue is not None
    extra = replace(month.billed[-1], id="inv_again", number="QL26-99999999")
    month.runs = [month.runs[0] + 1, 0]
    month.billed = [*month.billed, extra]
    month.invoices = [*month.invoices, extra]
    month.books_billed = _booked(month.books_billed, receivable=extra.total)
    month.books = _booked(month.books, receivable=extra.total)
    month.books_billed = replace(month.books_billed, findings=(OVERLAP,))
    month.books = replace(month.books, findings=(OVERLAP,))
    more = month.revenue
    month.revenue = replace(
        more, invoices=more.invoices + 1, invoiced=more.invoiced + extra.taxable
    )
    issued = next(webhook for webhook in evidence.webhooks if webhook.type == "invoice.issued")
    again = replace(issued, id="evt_again", data={**issued.data, "invoice_id": extra.id})
    evidence.webhooks = [*evidence.webhooks, again]


def billed_again_later(evidence: Evidence) -> None:
    """The second run finds something to do."""
    evidence.month.runs = [*evidence.month.runs[:1], 1]


def one_is_forgotten(evidence: Evidence) -> None:
    """One who pays nothing gets no invoice; all the books agree."""
    month = evidence.month
    assert month.books is not None
    forgotten = month.billed[-1]
    month.billed = month.billed[:-1]
    month.invoices = month.invoices[:-1]
    month.books_billed = Books(ZERO, 0, {"receivable": _total(month)}, ())
    month.books = _booked(month.books, receivable=-forgotten.total)


def wrong_tax(evidence: Evidence) -> None:
    """Across the border, but taxed as at home: the same sum."""
    month = evidence.month
    wrong = next(invoice for invoice in month.invoices if invoice.igst)
    half = wrong.igst / 2
    month.invoices = [
        replace(invoice, cgst=half, sgst=half, igst=ZERO) if invoice is wrong else invoice
        for invoice in month.invoices
    ]


def period_shifted(evidence: Evidence) -> None:
    """A month that begins a day late."""
    first, *others = evidence.month.invoices
    evidence.month.invoices = [replace(first, period_start=PERIOD_END), *others]


def receivable_differs(evidence: Evidence) -> None:
    """An invoice that never came to the books, both sides."""
    billed = evidence.month.books_billed
    assert billed is not None
    evidence.month.books_billed = _booked(billed, receivable=-PAISA)


def unbalanced_entry(evidence: Evidence) -> None:
    """One posting defers a paisa too much, and the proof says so."""
    for name in ("books_billed", "books"):
        books: Books = getattr(evidence.month, name)
        wrong = replace(books, ledger_sum=-PAISA, unbalanced=1, findings=("entries",))
        setattr(evidence.month, name, wrong)


def two_that_hide_each_other(evidence: Evidence) -> None:
    """Two postings out of balance, one each way: the sum of all is 0."""
    books = evidence.month.books
    assert books is not None
    evidence.month.books = replace(books, unbalanced=2)


def books_not_read(evidence: Evidence) -> None:
    """Nobody asked the ledger after the payments: three checks need it, so they say so."""
    evidence.month.books = None


def payment_lost(evidence: Evidence) -> None:
    """An invoice was paid and stands as if it was not."""
    first, *others = evidence.month.invoices
    changed = replace(first, status="DUE", paid=ZERO, outstanding=first.total)
    evidence.month.invoices = [changed, *others]


def form_counted_twice(evidence: Evidence) -> None:
    """The same form sent again was money again: the customer's credit, and no more commission."""
    month = evidence.month
    assert month.books is not None
    assert month.revenue is not None
    amount = month.billed[0].total
    month.books = _booked(month.books, gateway_clearing=amount, customer_credit=-amount)
    month.revenue = replace(month.revenue, payments=month.revenue.payments + amount)


def a_paisa_too_much(evidence: Evidence) -> None:
    """A commission rounded up instead of down, everywhere alike."""
    month = evidence.month
    assert month.books is not None
    assert month.revenue is not None
    first, *others = month.commissions
    month.commissions = [replace(first, amount=first.amount + PAISA), *others]
    month.revenue = replace(month.revenue, commission=month.revenue.commission + PAISA)
    month.books = _booked(month.books, partner_payable_pending=-PAISA, revshare_expense=PAISA)


def two_commissions_swapped(evidence: Evidence) -> None:
    """The sum is right, the invoices are not."""
    first, second, *others = evidence.month.commissions
    assert first.amount != second.amount
    evidence.month.commissions = [
        replace(first, amount=second.amount),
        replace(second, amount=first.amount),
        *others,
    ]


def ledger_owes_less(evidence: Evidence) -> None:
    """The list says one thing, the ledger another."""
    books = evidence.month.books
    assert books is not None
    evidence.month.books = _booked(books, partner_payable_pending=PAISA)


def not_a_pdf(evidence: Evidence) -> None:
    """An error page instead of a document."""
    _first_document(evidence, begins=b"<html")


def set_anew(evidence: Evidence) -> None:
    """Other bytes the second time."""
    _first_document(evidence, same_again=False)


def anybodys(evidence: Evidence) -> None:
    """Another customer's token opens it."""
    _first_document(evidence, status_for_another=200)


def no_documents(evidence: Evidence) -> None:
    """Nobody asked for any."""
    evidence.month.documents = ()


def invoice_not_told(evidence: Evidence) -> None:
    """One invoice.issued is never delivered."""
    _forget(evidence, "invoice.issued")


def commission_not_told(evidence: Evidence) -> None:
    """One commission.accrued is never delivered."""
    _forget(evidence, "commission.accrued")


SPOILT: Final[tuple[tuple[Callable[[Evidence], None], str], ...]] = (
    (bill_twice, "billed_once"),
    (billed_again_later, "billed_once"),
    (wrong_tax, "billed_once"),
    (period_shifted, "billed_once"),
    (receivable_differs, "receivable_matches"),
    (unbalanced_entry, "ledger_balances"),
    (two_that_hide_each_other, "ledger_balances"),
    (payment_lost, "payments_settle"),
    (form_counted_twice, "payments_settle"),
    (a_paisa_too_much, "commission_matches"),
    (two_commissions_swapped, "commission_matches"),
    (ledger_owes_less, "commission_matches"),
    (not_a_pdf, "invoice_documents"),
    (set_anew, "invoice_documents"),
    (anybodys, "invoice_documents"),
    (no_documents, "invoice_documents"),
    (invoice_not_told, "webhooks_complete"),
    (commission_not_told, "webhooks_complete"),
)


# -- inside ----------------------------------------------------------------------------------------
def _total(month: Month) -> Decimal:
    return sum((invoice.total for invoice in month.billed), ZERO)


def _booked(books: Books, **changes: Decimal) -> Books:
    changed = {name: books.balance(name) + amount for name, amount in changes.items()}
    return replace(books, balances={**books.balances, **changed})


def _first_document(evidence: Evidence, **changes: object) -> None:
    first, *others = evidence.month.documents
    evidence.month.documents = [replace(first, **changes), *others]  # type: ignore[arg-type]


def _forget(evidence: Evidence, kind: str) -> None:
    forgotten = next(webhook for webhook in evidence.webhooks if webhook.type == kind)
    evidence.webhooks = [webhook for webhook in evidence.webhooks if webhook is not forgotten]
