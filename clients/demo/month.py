"""After the day: the month is billed, partly paid, and read through all interfaces."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Final

from clients.demo.broker import Simulator
from clients.demo.evidence import Books, Document, Invoice, Month
from clients.demo.installation import Installation
from clients.demo.money import PairKey, payments
from clients.demo.partner import PartnerApi
from clients.demo.progress import Progress, say
from clients.demo.staff import Staff
from clients.demo.story import DAY, Story

BEGINNING: Final = 5  # bytes of a document that are kept as evidence


class MonthEnd:
    """Bills, pays and reads the month. ``subscriptions``: (e-mail, strategy's key) -> id."""

    def __init__(
        self,
        story: Story,
        installation: Installation,
        simulator: Simulator,
        staff: Staff,
        api: PartnerApi,
        subscriptions: Mapping[PairKey, str],
    ) -> None:
        self.story = story
        self.installation = installation
        self.simulator = simulator
        self.staff = staff
        self.api = api
        self.subscriptions = subscriptions

    def play(self) -> Month:
        """Run all steps."""
        began = time.monotonic()
        month = Month()
        say("Operators: the month is billed, and billed again")
        month.runs = [self.installation.bill(DAY, self.simulator.now()) for _ in range(2)]
        with ThreadPoolExecutor(1) as operators:
            books = operators.submit(self._books)
            month.billed = self.api.invoices()
            month.books_billed = books.result()
            self._pay(month.billed)
            books = operators.submit(self._books)
            month.invoices = self.api.invoices()
            month.commissions = self.api.commissions()
            month.revenue = self.api.revenue(f"{DAY:%Y-%m}")
            month.documents = self._documents(month.billed)
            month.books = books.result()
        month.seconds = time.monotonic() - began
        return month

    def _books(self) -> Books:
        return read_books(self.installation.check_ledger(self.simulator.now()))

    def _pay(self, billed: Sequence[Invoice]) -> None:
        """Staff record each payment for the first invoice of its subscription."""
        first: dict[str, Invoice] = {}
        for invoice in billed:
            first.setdefault(invoice.subscription_id, invoice)
        todo = payments(self.story)
        with Progress("payments, in the console", len(todo)) as progress:
            for payment in todo:
                owed = first.get(self.subscriptions[payment.bill.key])
                if owed is not None:  # else the checks report what is missing
                    self.staff.record_payment(owed.number, payment)
                progress.step()

    def _documents(self, billed: Sequence[Invoice]) -> list[Document]:
        """Documents of one invoice within the supplier's state and of one across states."""
        within = next((invoice for invoice in billed if invoice.cgst), None)
        across = next((invoice for invoice in billed if invoice.igst), None)
        return [
            self._document(invoice, stranger.email)
            for invoice, stranger in ((within, across), (across, within))
            if invoice is not None and stranger is not None
        ]

    def _document(self, invoice: Invoice, stranger: str) -> Document:
        token = self.api.user_token(invoice.email)
        _, content = self.api.invoice_pdf(token, invoice.id)
        _, again = self.api.invoice_pdf(token, invoice.id)
        refused, _ = self.api.invoice_pdf(self.api.user_token(stranger), invoice.id)
        return Document(
            number=invoice.number,
            begins=content[:BEGINNING],
            size=len(content),
            same_again=again == content,
            status_for_another=refused,
        )


def read_books(said: Mapping[str, Any]) -> Books:
    """Parse the output of ``manage.py check_ledger --json``."""
    return Books(
        ledger_sum=Decimal(said["ledger_sum"]),
        unbalanced=said["unbalanced_transactions"],
        balances={name: Decimal(line["balance"]) for name, line in said["trial_balance"].items()},
        findings=tuple(finding["what"] for finding in said["findings"]),
    )
