"""One receipt for several customers' invoices: choose them, split the amount, confirm.

One transfer may pay for several customers: a family's, or a partner's for its users. An invoice's
own pages record receipts for its customer only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode

from partners.models import Customer, Partner
from quantleap.core import clock
from quantleap.core.admin import ConfirmForm, action
from quantleap.core.admin_columns import in_rupees
from quantleap.core.audit import Actor
from quantleap.core.confirmation import CHANGED, Answer, FiguresPage
from quantleap.core.console import page_of
from quantleap.core.counts import counted
from quantleap.core.errors import DomainError
from quantleap.core.identifiers import BadIdentifier, ascii_upper, clean_email
from quantleap.core.money import ZERO
from subscriptions.billing.admin.receipt_forms import AllocationForm, part_field
from subscriptions.billing.invoicing.formatting import day
from subscriptions.billing.models import Invoice, Method
from subscriptions.billing.settlement import allocations
from subscriptions.billing.settlement.allocations import Part

TITLE: Final = "One receipt for several customers"
#: Maximum invoices: nobody could check more on one page against a statement.
MOST: Final = 50
_LINES: Final = 200 * MOST


def find_invoices(text: str) -> list[Invoice]:
    """The invoices of one tenant that ``text`` names, oldest first.

    By number, or by a customer's e-mail or id for all their unpaid invoices. Raises ValidationError
    naming unknown entries, or the tenants if there are several.
    """
    names = list(dict.fromkeys(name for name in re.split(r"[\s,;]+", text) if name))
    if not names:
        raise forms.ValidationError("Name at least one invoice.")
    people = [name for name in names if _names_a_person(name)]
    numbers = [ascii_upper(name) for name in names if not _names_a_person(name)]
    customers = list(
        Customer.objects.filter(Q(email__in=_emails(people)) | Q(public_id__in=people))
    )
    condition = Q(number__in=numbers) | Q(customer__in=customers, status__in=Invoice.UNPAID)
    rows = Invoice.objects.filter(condition).select_related("customer").defer("snapshot")
    invoices = list(rows.order_by("issued_on", "id")[: MOST + 1])
    if len(invoices) > MOST:
        raise forms.ValidationError(f"At most {MOST} invoices; these are more.")
    known = {invoice.number for invoice in invoices}
    known |= {name for customer in customers for name in (customer.email, customer.public_id)}
    unknown = [
        name for name in [*numbers, *people] if name not in known and _email(name) not in known
    ]
    if unknown:
        raise forms.ValidationError(f"Nothing is known by this: {', '.join(unknown)}.")
    by_tenant = {(invoice.partner_id, invoice.environment): invoice for invoice in invoices}
    tenants = sorted(tenant_of(invoice) for invoice in by_tenant.values())
    if len(tenants) > 1:
        raise forms.ValidationError(
            f"They are of {' and '.join(tenants)}. A receipt is of one partner and environment: "
            "record one for each."
        )
    if not invoices:
        raise forms.ValidationError(f"Nothing is owed by {', '.join(people)}.")
    return invoices


def _names_a_person(text: str) -> bool:
    return "@" in text or text.startswith("usr_")


def _emails(names: Sequence[str]) -> list[str]:
    return [email for email in map(_email, names) if email]


def _email(text: str) -> str:
    """The address in its stored form; empty if it is no address."""
    try:
        return clean_email(text)
    except BadIdentifier:
        return ""


def tenant_of(row: Invoice) -> str:
    """The tenant for display: ``zebu (live)``, ``direct (live)``."""
    slug = Partner.objects.filter(pk=row.partner_id or 0).values_list("slug", flat=True).first()
    return f"{slug or 'direct'} ({row.environment})"


class ChooseForm(ConfirmForm):
    """The invoices of the receipt."""

    invoices = forms.CharField(
        max_length=_LINES,
        label="Invoices",
        help_text="Their numbers, one a line or separated by commas. A customer's e-mail or id "
        f"(usr_…) stands for all that they owe. At most {MOST}.",
        widget=forms.Textarea,
    )

    chosen_invoices: list[Invoice]

    def clean_invoices(self) -> str:
        """The text as typed; sets ``chosen_invoices``, whose invoices are all owed."""
        text: str = self.cleaned_data["invoices"]
        self.chosen_invoices = find_invoices(text)
        paid = [invoice.number for invoice in self.chosen_invoices if invoice.outstanding <= 0]
        if paid:
            raise forms.ValidationError(f"Nothing is owed on {', '.join(paid)}.")
        return text


class JointForm(AllocationForm):
    """The receipt, its payer, and each invoice's part: all that it owes unless changed."""

    payer = forms.CharField(
        required=False,
        max_length=254,
        label="Customer who paid",
        help_text="Their e-mail or id (usr_…): what is left becomes their credit. Empty: nobody "
        "of ours, and all of it goes to the invoices.",
    )
    field_order = ("amount", "method", "reference", "received_on", "payer", "payer_name", "note")

    #: The customer whom ``payer`` names.
    paid_by: Customer | None = None

    def part_of(self, invoice: Invoice) -> forms.DecimalField:
        """The field with the customer's name; starts with the outstanding sum."""
        field = part_field(invoice, f"For {invoice.number}, {invoice.customer}")
        field.initial = max(invoice.outstanding, ZERO) or None
        return field

    def unsaid(self, amount: Decimal) -> list[Part]:
        """No parts: the payer decides which invoice is paid first."""
        del amount
        return []

    def clean_payer(self) -> str:
        """Look for a customer of the invoices' tenant; sets ``paid_by``."""
        text: str = self.cleaned_data["payer"].strip()
        if not text:
            return text
        first = self.owing[0]
        customers = Customer.objects.for_partner(first.partner_id, first.environment)
        try:
            lookup = (
                {"public_id": text} if text.startswith("usr_") else {"email": clean_email(text)}
            )
        except BadIdentifier as error:
            raise forms.ValidationError(str(error)) from error
        self.paid_by = customers.filter(**lookup).first()
        if self.paid_by is None:
            raise forms.ValidationError(f"No customer of {tenant_of(first)} is known by this.")
        return text

    def clean(self) -> dict[str, Any]:
        """Require a payer, and a customer for the rest."""
        data = super().clean()
        if self.errors:
            return data
        if not data["parts"]:
            self.add_error("amount", "Say beside the invoices what each of them gets.")
        if self.paid_by is None and not data["payer_name"].strip():
            self.add_error("payer_name", "Name the customer who paid, or who the bank says did.")
        if self.paid_by is None and data["left"] > 0:
            self.add_error(
                "payer",
                f"{in_rupees(data['left'])} are left: name the customer whose credit they become.",
            )
        return data

    def figures(self) -> list[tuple[str, str]]:
        """Everything that would be recorded, with the sum of the parts and the amount received."""
        data = self.cleaned_data
        amounts = {part.invoice_id: part.amount for part in data["parts"]}
        remarks = {"Payer on the statement": data["payer_name"], "Note": data["note"]}
        rail = dict(Method.choices)[data["method"]]
        return [
            ("Received", f"{in_rupees(data['amount'])} on {day(data['received_on'].isoformat())}"),
            ("By", f"{rail} {data['reference']}"),
            ("Customer who paid", str(self.paid_by or "–")),
            *((label, text) for label, text in remarks.items() if text),
            *(
                (
                    f"{invoice.number}, {invoice.customer}",
                    _of_owed(amounts[invoice.pk], invoice.outstanding),
                )
                for invoice in self.owing
                if invoice.pk in amounts
            ),
            (
                f"{counted(len(amounts), 'invoice')} together",
                in_rupees(sum(amounts.values(), ZERO)),
            ),
            (f"Credit of {self.paid_by}" if self.paid_by else "Left", in_rupees(data["left"])),
        ]


def _of_owed(part: Decimal, owed: Decimal) -> str:
    return in_rupees(part) + ("" if part == owed else f" of {in_rupees(owed)}")


class RecordsJointReceipts(FiguresPage):
    """Adds the button to the list of receipts, with the pages behind it."""

    def has_pay_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed for users who may add a payment and view the receipt afterwards."""
        may = request.user.has_perm
        return may("billing.add_payment") and may("billing.view_receipt")

    @action(
        description="Record for several customers",
        permissions=["pay"],
        url_path="record-joint",
        icon="group_add",
    )
    def record_joint(self, request: HttpRequest) -> HttpResponse:
        """Choose the invoices; with ``?invoices=`` in the address, enter each one's part."""
        if "invoices" not in request.GET:
            return self._choose(request)
        form = ChooseForm({"invoices": request.GET["invoices"]})
        valid = form.is_valid()
        if request.method != "POST" or not hasattr(form, "chosen_invoices"):
            if not valid:
                return self._page(request, form, "Next", _ABOUT_CHOOSING, status=400)
            return self._ask(request, JointForm(owing=form.chosen_invoices))
        # An invoice that was paid meanwhile shows an error at its field; nothing typed is lost.
        return self._answer(request, JointForm(request.POST, owing=form.chosen_invoices))

    def _choose(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return self._page(request, ChooseForm(), "Next", _ABOUT_CHOOSING)
        form = ChooseForm(request.POST)
        if not form.is_valid():
            return self._page(request, form, "Next", _ABOUT_CHOOSING, status=400)
        numbers = ",".join(invoice.number for invoice in form.chosen_invoices)
        return HttpResponseRedirect(f"{request.path}?{urlencode({'invoices': numbers})}")

    def _answer(self, request: HttpRequest, form: JointForm) -> HttpResponse:
        if not form.is_valid():
            return self._ask(request, form, status=400)
        figures = form.figures()
        answer = self.answered(request, figures)
        if answer is Answer.CHANGE:
            return self._ask(request, form)
        if answer is Answer.ASK:
            return self._ask(request, form, figures=figures)
        if answer is Answer.CHANGED:
            return self._ask(request, form, figures=figures, errors=[CHANGED], status=409)
        try:
            done = allocations.record(
                **{name: form.cleaned_data[name] for name in JointForm.GIVEN},
                customer_id=form.paid_by.pk if form.paid_by else None,
                actor=Actor.staff(request.user),
                now=clock.now(),
            )
        except DomainError as error:
            return self._ask(request, form, errors=form.refuse(error), status=error.status)
        messages.success(request, _outcome(done, len(form.cleaned_data["parts"])))
        return HttpResponseRedirect(page_of(done.receipt))

    def _ask(self, request: HttpRequest, form: JointForm, **options: Any) -> HttpResponse:
        owed = sum((invoice.outstanding for invoice in form.owing), ZERO)
        customers = len({invoice.customer_id for invoice in form.owing})
        sentences = (
            f"{counted(len(form.owing), 'invoice')} of {counted(customers, 'customer')} of "
            f"{tenant_of(form.owing[0])}: "
            f"{in_rupees(owed)} are owed.",
            *(() if options.get("figures") else _ABOUT_PARTS),
        )
        return self._page(request, form, "Record receipt", sentences, **options)

    def _page(
        self,
        request: HttpRequest,
        form: ConfirmForm,
        button: str,
        sentences: Sequence[str],
        **options: Any,
    ) -> HttpResponse:
        return self.figures_page(
            request,
            form,
            title=TITLE,
            button=button,
            sentences=sentences,
            again_words="What is recorded cannot be changed any more. Is this what came?",
            back=reverse("admin:billing_receipt_changelist"),
            **options,
        )


_ABOUT_CHOOSING: Final = (
    "One transfer, cheque or payment that pays the invoices of several customers of one partner. "
    "What one customer paid for themselves is recorded on their invoice's page.",
)
_ABOUT_PARTS: Final = (
    "Each invoice gets the sum beside it, or nothing if that is empty. What is left becomes "
    "the credit of the customer who paid.",
    "Commission accrues on what is paid. A bank's reference is recorded once, however it is "
    "spelled.",
)


def _outcome(done: allocations.Received, count: int) -> str:
    receipt = done.receipt
    if not done.created:
        return f"{receipt.reference} was recorded before as {receipt}."
    over = (
        f" {in_rupees(receipt.credit)} are the credit of {receipt.payer}." if receipt.credit else ""
    )
    invoices = counted(count, "invoice")
    return f"{in_rupees(receipt.amount)} are recorded as {receipt}, for {invoices}.{over}"
