"""What must hold of a portfolio's books after every step of the state machine (machine.py).

docs/billing-verification.md numbers the invariants; test_machine.py says which method is which.
Everything is counted here once more, or by the second biller (portfolios_oracle.py), and compared.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import ROUND_DOWN, Decimal
from typing import Any, ClassVar, Final, TypeAlias

from django.db import connection
from django.db.models import F, QuerySet, Sum
from hypothesis.stateful import RuleBasedStateMachine, invariant

from subscriptions.billing.ledger import checks
from subscriptions.billing.models import (
    AccountBalance,
    Commission,
    CreditNote,
    Invoice,
    LedgerEntry,
    Payment,
    PaymentReversal,
    Receipt,
    Refund,
    Reversal,
    WithdrawalCredit,
)
from subscriptions.billing.tests.factories import HOME, noon
from subscriptions.billing.tests.portfolios_oracle import (
    Action,
    Event,
    Followed,
    begun,
    fiscal_year,
    taxed,
)
from subscriptions.models import ShareLine, Subscription

ZERO: Final = Decimal("0.00")
PAISA: Final = Decimal("0.01")
RATE: Final = Decimal(18)
#: Money that only changes its name: no account of ours outside the books moves.
KEPT: Final = "CUSTOMER_CREDIT"

#: A period that was or should be invoiced: subscription, segment, number, first day, day after.
Period: TypeAlias = tuple[int, int, int, dt.date, dt.date]

#: What moves an invoice's money.
Step: TypeAlias = "Payment | CreditNote | PaymentReversal"

_TABLES: Final = (
    "billing_ledgertransaction", "billing_ledgerentry", "billing_invoice", "billing_payment",
    "billing_receipt", "billing_reversal", "billing_paymentreversal",
    "billing_creditnote", "billing_refund", "billing_commission", "billing_billingsegment",
    "billing_withdrawalcredit", "core_outboxevent",
)  # fmt: skip
_PRINTS: Final = " UNION ALL ".join(
    f"SELECT '{name}', md5(string_agg(held::text, ';' ORDER BY id)) FROM {name} AS held"
    for name in _TABLES
)


def total(rows: QuerySet[Any], field: str = "amount") -> Decimal:
    """Sum of a column, 0 without rows."""
    summed: Decimal | None = rows.aggregate(sum=Sum(field))["sum"]
    return summed or ZERO


def floored(amount: Decimal) -> Decimal:
    """Whole paise, the rest dropped."""
    return amount.quantize(PAISA, ROUND_DOWN)


class Books(RuleBasedStateMachine):
    """What is known of a portfolio beside the database, and what is compared with it."""

    #: How often what happened, over all examples: a rule that never gets anywhere proves nothing.
    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.today = dt.date.min
        #: What happened to each subscription (id), for the second biller.
        self.known: dict[int, Followed] = {}
        #: Everything that was invoiced when a run last came to its end.
        self.billed: set[Period] = set()

    # -- the second biller -----------------------------------------------------------------------
    def happened(self, subscription_id: int, action: Action) -> None:
        """Told whenever a customer did something today."""
        followed = self.known[subscription_id]
        self.known[subscription_id] = replace(
            followed, events=(*followed.events, Event(self.today, action))
        )

    def due(self) -> set[Period]:
        """Every period that had begun by today, whatever ran."""
        return {
            (pk, period.segment, period.number, period.first, period.after)
            for pk, followed in self.known.items()
            if followed.place_of_supply
            for period in begun(followed, self.today)
        }

    def invoiced(self) -> set[Period]:
        """What the database holds; an invoice twice would be seen by its count."""
        columns = ("subscription_id", "segment_no", "period_no", "period_start", "period_end")
        rows = list(Invoice.objects.values_list(*columns))
        assert len(rows) == len(set(rows))
        return set(rows)

    def all_is_billed(self) -> None:
        """After a run: the same invoices as from any other runs, on whatever days they came."""
        self.billed = self.invoiced()
        due = self.due()
        assert self.billed <= due, "billed, and not due"
        assert self.billed == due, "due, and not billed"

    def prints(self) -> dict[str, str]:
        """A fingerprint of each table of the books."""
        with connection.cursor() as cursor:
            cursor.execute(_PRINTS)
            return dict(cursor.fetchall())

    # -- the ledger ------------------------------------------------------------------------------
    @invariant()
    def transactions_add_up_and_balances_are_their_entries(self) -> None:
        with connection.cursor() as cursor:  # what the database judges at a commit
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        summed: dict[str, Decimal] = defaultdict(Decimal)
        per_transaction: dict[int, Decimal] = defaultdict(Decimal)
        for transaction_id, code, amount in LedgerEntry.objects.values_list(
            "transaction_id", "account__code", "amount"
        ):
            per_transaction[transaction_id] += amount
            summed[code] += amount
        assert not any(per_transaction.values()), "a transaction out of balance"
        assert sum(summed.values()) == 0
        held = dict(AccountBalance.objects.values_list("account__code", "balance"))
        assert held == summed, "a balance that is not the sum of its entries"
        self.every_account_says_what_the_documents_say(summed)

    def every_account_says_what_the_documents_say(self, summed: dict[str, Decimal]) -> None:
        """No account is posted to from the wrong side, or for another."""
        expected: dict[str, Decimal] = defaultdict(Decimal)
        for invoice in Invoice.objects.select_related("customer"):
            expected[f"receivable:{invoice.customer.public_id}"] += (
                invoice.total - invoice.paid + invoice.refunded - invoice.credited
            )
            expected["deferred_revenue"] -= (
                invoice.taxable - invoice.credited_taxable - invoice.recognised
            )
            expected["revenue"] -= invoice.recognised
            for tax in ("cgst", "sgst", "igst"):
                expected[f"gst_output:{tax}"] -= getattr(invoice, tax)
        for note in CreditNote.objects.all():
            for tax in ("cgst", "sgst", "igst"):
                expected[f"gst_output:{tax}"] += getattr(note, tax)
        for receipt in Receipt.objects.filter(reversal__isnull=True, credit__gt=0):
            assert receipt.customer is not None, "credit of nobody"
            expected[f"customer_credit:{receipt.customer.public_id}"] -= receipt.credit
            expected["gateway_clearing:manual"] += receipt.credit
        for reversal in Reversal.objects.all():
            expected["bank_charges"] += reversal.bank_charges
            expected["gateway_clearing:manual"] -= reversal.bank_charges
        for payment in Payment.objects.filter(reversal__isnull=True).select_related("customer"):
            credit = f"customer_credit:{payment.customer.public_id}"
            source = credit if payment.method == KEPT else "gateway_clearing:manual"
            expected[source] += payment.amount
            expected[credit] -= payment.excess
        for refund in Refund.objects.select_related("customer"):
            credit = f"customer_credit:{refund.customer.public_id}"
            expected[credit if refund.method == KEPT else "gateway_clearing:manual"] -= (
                refund.amount
            )
            if refund.credit_note_id is None:
                expected[credit] += refund.amount
        earned = Commission.objects.exclude(kind="MATURITY")
        expected["revshare_expense"] = total(earned)
        owed = sum(amount for code, amount in summed.items() if code.startswith("partner_payable"))
        assert owed == -total(earned)
        wrong = {
            code: (amount, summed.get(code, ZERO))
            for code, amount in expected.items()
            if amount != summed.get(code, ZERO)
        }
        assert not wrong, f"account, as documents, as booked: {wrong}"

    @invariant()
    def the_proof_finds_nothing(self) -> None:
        report = checks.check_ledger(now=noon(self.today))
        assert report.ok, report.findings

    # -- what is billed --------------------------------------------------------------------------
    @invariant()
    def periods_tile_from_the_anchor(self) -> None:
        invoiced = self.invoiced()
        assert self.billed <= invoiced, "an invoice is gone"
        assert invoiced <= self.due(), "an invoice for days that nobody follows"
        numbers: dict[tuple[int, int], list[int]] = defaultdict(list)
        days: dict[int, list[tuple[dt.date, dt.date]]] = defaultdict(list)
        for subscription, segment, number, first, after in sorted(invoiced):
            numbers[subscription, segment].append(number)
            days[subscription].append((first, after))
        assert all(held == list(range(len(held))) for held in numbers.values()), "a gap"
        for spans in days.values():
            assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans)), "days billed twice"

    @invariant()
    def cancelled_is_cancelled(self) -> None:
        ended = {
            pk: followed.events[-1].day
            for pk, followed in self.known.items()
            if followed.events and followed.events[-1].action is Action.CANCEL
        }
        statuses = dict(Subscription.objects.values_list("pk", "status"))
        assert {pk for pk, status in statuses.items() if status == "CANCELLED"} == set(ended)
        late = [
            period for period in self.invoiced() if period[3] > ended.get(period[0], dt.date.max)
        ]
        assert not late, "billed after the cancellation"

    @invariant()
    def numbers_follow_each_other(self) -> None:
        for documents, name in ((Invoice, "QL"), (CreditNote, "CN")):
            rows = list(
                documents.objects.order_by("fy", "seq").values_list(
                    "fy", "seq", "number", "issued_on"
                )
            )
            for fy, count in Counter(row[0] for row in rows).items():
                assert [row[1] for row in rows if row[0] == fy] == list(range(1, count + 1))
            dates = [issued_on for *_, issued_on in rows]
            assert dates == sorted(dates), "a date falls"
            for fy, seq, number, issued_on in rows:
                assert fy == fiscal_year(issued_on)
                assert number == f"{name}{fy[2:4]}-{seq:08}"
                assert re.fullmatch(r"[A-Z0-9/-]{1,16}", number), "Rule 46"

    @invariant()
    def tax_is_the_rates(self) -> None:
        for invoice in Invoice.objects.all():
            followed = self.known[invoice.subscription_id]
            tax = taxed(followed.fee, RATE, home=followed.place_of_supply == HOME)
            assert (invoice.taxable, invoice.cgst, invoice.sgst, invoice.igst) == (
                followed.fee,
                *tax,
            ), "tax"
        documents: list[Invoice | CreditNote] = [*Invoice.objects.all(), *CreditNote.objects.all()]
        for row in documents:
            assert row.cgst == row.sgst
            assert not (row.igst and row.cgst)
            tax_kept = row.tax_kept if isinstance(row, CreditNote) else 0
            assert row.total == row.taxable + row.cgst + row.sgst + row.igst + tax_kept

    # -- money -----------------------------------------------------------------------------------
    @invariant()
    def money_is_within_its_bounds(self) -> None:
        for invoice in Invoice.objects.all():
            assert 0 <= invoice.refunded <= invoice.paid + invoice.reversed
            assert 0 <= invoice.paid <= invoice.total
            assert invoice.paid - invoice.refunded <= invoice.total - invoice.credited, (
                "not given back at once"
            )
            assert 0 <= invoice.recognised <= invoice.taxable - invoice.credited_taxable
            if not invoice.credited:
                assert invoice.recognised <= self.earned(invoice, self.today), "earned too early"
        received = total(Receipt.objects.all())
        refunded = total(Refund.objects.exclude(method=KEPT))
        assert refunded <= received, "somebody was given more than he paid"
        # what anybody may still be given back is there
        credits = AccountBalance.objects.filter(account__code__startswith="customer_credit:")
        for debt in credits.filter(balance__gt=0).select_related("account"):
            customer = debt.account.code.partition(":")[2]
            out = Refund.objects.filter(credit_note=None, customer__public_id=customer)
            bounced = Receipt.objects.filter(reversal__isnull=False, customer__public_id=customer)
            assert debt.balance <= total(out), "a customer's credit is overdrawn"
            assert bounced.exists(), "a customer's credit is overdrawn, and nothing bounced"
        assert -total(credits, "balance") <= received - refunded, "credit that nobody paid"

    def earned(self, invoice: Invoice, through: dt.date) -> Decimal:
        """Revenue of an invoice without credits by the end of ``through``."""
        days = (invoice.period_end - invoice.period_start).days
        over = min(days, max(0, (through - invoice.period_start).days + 1))
        return floored(invoice.taxable * over / days)

    @invariant()
    def commission_follows_the_money(self) -> None:
        rows: dict[int, list[Commission]] = defaultdict(list)
        for row in Commission.objects.order_by("id"):
            rows[row.invoice_id].append(row)
        moved: dict[int, list[Step]] = defaultdict(list)
        notes = CreditNote.objects.select_related("refund")
        reversals = PaymentReversal.objects.select_related("payment")
        steps: list[Step] = [*Payment.objects.all(), *notes, *reversals]
        for step in sorted(steps, key=_place):
            moved[_invoice_of(step)].append(step)
        agreed: dict[int, list[ShareLine]] = defaultdict(list)
        for line in ShareLine.objects.all():
            agreed[line.subscription_id].append(line)
        for invoice in Invoice.objects.all():
            lines = agreed[invoice.subscription_id]
            assert sum(line.amount for line in lines) == invoice.taxable, "shares do not add up"
            assert sum(line.basis_points for line in lines) == 10_000
            self.shared(invoice, rows[invoice.pk], moved[invoice.pk], lines)

    def shared(
        self,
        invoice: Invoice,
        rows: Iterable[Commission],
        moved: Sequence[Step],
        lines: Iterable[ShareLine],
    ) -> None:
        """The partner's part of what is kept of an invoice, to the paisa; ours is the rest."""
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for row in rows:
            sums[row.kind] += row.amount
        accrued, taken, released = sums["ACCRUAL"], -sums["CLAWBACK"], sums["MATURITY"]
        self.seen["clawed back"] += taken > 0
        assert 0 <= taken <= accrued, "more was taken back than given"
        assert 0 <= released <= accrued, "more is payable than was earned"
        theirs = [line for line in lines if line.payee is not None]
        bps = sum(line.basis_points for line in theirs)
        assert accrued - taken == _replayed(invoice, moved, bps), "not the commission of this money"
        if invoice.credited == 0 and invoice.paid == invoice.total:
            assert accrued - taken == sum(line.amount for line in theirs), "not the agreed share"
        if invoice.credited == invoice.total:
            assert accrued == taken, "all went back, and somebody kept a part"

    @invariant()
    def a_withdrawal_credits_no_more_than_the_days_after_it(self) -> None:
        for row in WithdrawalCredit.objects.select_related("credit_note__invoice"):
            assert self.known[row.subscription_id].events[-1] == (
                Event(row.withdrawn_on, Action.CANCEL)
            )
            if row.credit_note is not None:
                invoice = row.credit_note.invoice
                days = (invoice.period_end - invoice.period_start).days
                unused = (invoice.period_end - row.withdrawn_on).days - 1
                assert 0 < row.credit_note.taxable <= invoice.taxable * unused / days
                assert invoice.period_start <= row.withdrawn_on < invoice.period_end
        done = WithdrawalCredit.objects.filter(done_at__isnull=False)
        unbilled = done.filter(subscription__segments__next_on__isnull=False)
        assert not unbilled.exists(), "credited before all was invoiced"
        assert not done.filter(created_at__gt=F("done_at")).exists()


def _place(step: Step) -> int:
    """Transactions are numbered in the order in which an invoice's lock was held."""
    return step.transaction_id


def _invoice_of(step: Step) -> int:
    return step.payment.invoice_id if isinstance(step, PaymentReversal) else step.invoice_id


def _replayed(invoice: Invoice, moved: Sequence[Step], bps: int) -> Decimal:
    """What is left of a commission after each movement of an invoice's money, in their order.

    A payment never takes a commission away; a credit note never adds one, and takes from the newest
    payment first; of a payment that was reversed nothing stays, whatever the rest has earned.
    """
    paid = refunded = credited = credited_taxable = ZERO
    held: dict[int, Decimal] = {}  # by payment, the oldest first
    for place, step in enumerate(moved):
        if isinstance(step, Payment):
            paid += step.applied
        elif isinstance(step, CreditNote):
            credited += step.total
            credited_taxable += step.taxable
            refund = getattr(step, "refund", None)  # a note that only lowers what is owed has none
            refunded += refund.amount if refund else ZERO
        else:
            paid -= step.payment.applied
            held[step.payment_id] = ZERO
            after = moved[place + 1 : place + 2]
            if after and getattr(after[0], "reversal_id", None) == step.reversal_id:
                continue  # one reversal of several payments
        target = _earned(invoice, paid - refunded, credited, credited_taxable, bps)
        if isinstance(step, Payment):
            held[step.pk] = max(ZERO, target - sum(held.values()))
            continue
        excess = sum(held.values()) - target
        for payment in reversed(held):
            part = max(ZERO, min(excess, held[payment]))
            held[payment] -= part
            excess -= part
    earned = sum(held.values(), ZERO)
    assert (paid, refunded, credited, credited_taxable) == (
        invoice.paid, invoice.refunded, invoice.credited, invoice.credited_taxable,
    )  # fmt: skip
    # floor(bps x what is kept): exactly, but for credits of what was only partly paid
    target = _earned(invoice, paid - refunded, credited, credited_taxable, bps)
    assert target - 2 * PAISA <= earned <= target if moved else earned == 0
    return earned


def _earned(
    invoice: Invoice, kept: Decimal, credited: Decimal, credited_taxable: Decimal, bps: int
) -> Decimal:
    base = invoice.taxable - credited_taxable
    if kept < invoice.total - credited:
        base = min(base, floored(invoice.taxable * max(ZERO, kept) / invoice.total))
    return floored(base * bps / 10_000)
