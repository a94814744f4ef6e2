"""Dated data that an invoice copies: tax rates, the supplier; and the last number issued."""

from __future__ import annotations

from typing import Final

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

GSTIN: Final = r"^[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][0-9A-Z]Z[0-9A-Z]$"


class TaxRate(models.Model):
    """GST on our service in percent, from a date (IST). CGST and SGST are half of it each."""

    effective_from = models.DateField(unique=True)
    rate_pct = models.DecimalField(max_digits=5, decimal_places=2)

    class Meta:
        ordering = ("-effective_from",)
        constraints = (
            models.CheckConstraint(
                condition=Q(rate_pct__gte=0, rate_pct__lte=100),
                name="tax_rate_sane",
                violation_error_message="A rate is 0 to 100 percent.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.rate_pct} % from {self.effective_from}"


class Supplier(models.Model):
    """Issuer of invoices, as registered for GST, from a date (IST)."""

    effective_from = models.DateField(unique=True)
    legal_name = models.CharField(max_length=160)
    address = models.TextField(help_text="As registered; one line of the invoice per line.")
    gstin = models.CharField(
        max_length=15, validators=[RegexValidator(GSTIN, "A GSTIN has 15 characters.")]
    )
    state_code = models.CharField(max_length=2, help_text="GST state code.")
    state_name = models.CharField(max_length=60)
    sac = models.CharField(max_length=6, help_text="Service accounting code of a subscription.")
    email = models.EmailField()
    payment_details = models.TextField(
        blank=True,
        help_text="How customers pay: bank, account, IFSC, UPI id. One line of the invoice per "
        "line; empty: nothing is printed.",
    )

    class Meta:
        ordering = ("-effective_from",)
        constraints = (
            models.CheckConstraint(
                condition=Q(gstin__regex=GSTIN),
                name="supplier_gstin_format",
                violation_error_message="A GSTIN has 15 characters: two digits of the state, the "
                "PAN, a digit or letter, Z, and a check character.",
            ),
            # the first two characters of a GSTIN are the state of registration
            models.CheckConstraint(
                condition=Q(gstin__startswith=models.F("state_code")),
                name="supplier_gstin_state",
                violation_error_message="A GSTIN begins with the code of its state.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.legal_name} from {self.effective_from}"


class NumberSeries(models.Model):
    """The last number of a series in a financial year. The database refuses a gap (0002)."""

    class Series(models.TextChoices):
        INVOICE = "invoice", "Invoices"
        CREDIT_NOTE = "credit_note", "Credit notes"

    series = models.CharField(max_length=12, choices=Series.choices)
    fy = models.CharField(max_length=7, help_text="Financial year April to March: 2026-27.")
    last = models.PositiveIntegerField(default=0)
    last_on = models.DateField(null=True, help_text="Date of the last number; dates never fall.")

    class Meta:
        verbose_name_plural = "number series"
        ordering = ("series", "-fy")
        constraints = (
            models.UniqueConstraint(fields=["series", "fy"], name="number_series_uniq"),
            models.CheckConstraint(
                condition=Q(fy__regex=r"^[0-9]{4}-[0-9]{2}$"), name="number_series_fy_format"
            ),
        )

    def __str__(self) -> str:
        return f"{self.series} {self.fy}: {self.last}"
