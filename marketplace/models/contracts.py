"""Instruments: underlyings, contracts, and their properties that change with time."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from quantleap.core.dates import day_text
from quantleap.core.decimals import trimmed


class Underlying(models.Model):
    """An index whose options and futures are traded."""

    symbol = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=60)
    exchange = models.CharField(max_length=4, help_text="Exchange segment: NFO or BFO.")
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ("symbol",)

    def __str__(self) -> str:
        return self.symbol


class OptionType(models.TextChoices):
    """Kind of contract."""

    CE = "CE", "Call"
    PE = "PE", "Put"
    FUT = "FUT", "Future"


class Contract(models.Model):
    """One listed option or future. Strike 0 for a future; tick in rupees."""

    underlying = models.ForeignKey(Underlying, on_delete=models.PROTECT, related_name="contracts")
    exchange = models.CharField(max_length=4)
    expiry = models.DateField()
    strike = models.DecimalField(max_digits=10, decimal_places=2)
    option_type = models.CharField(max_length=3, choices=OptionType.choices)
    tick_size = models.DecimalField(max_digits=6, decimal_places=2)
    exchange_token = models.CharField(max_length=20, help_text="The exchange's own number.")
    first_seen = models.DateField()
    last_seen = models.DateField()

    class Meta:
        # by id, not by the underlying's symbol, so that a list of 100,000 rows reads an index in
        # order
        ordering = ("underlying_id", "expiry", "strike", "option_type")
        constraints = (
            models.UniqueConstraint(
                fields=["underlying", "expiry", "strike", "option_type"], name="contract_uniq"
            ),
            models.CheckConstraint(condition=Q(tick_size__gt=0), name="contract_tick_positive"),
            models.CheckConstraint(
                condition=Q(option_type="FUT", strike=0) | ~Q(option_type="FUT"),
                name="contract_future_has_no_strike",
            ),
        )
        indexes = (
            # expiries of an underlying from a date on (resolution at T-2 s)
            models.Index(fields=["underlying", "expiry"], name="contract_expiry_idx"),
        )

    def __str__(self) -> str:
        strike = "" if self.option_type == OptionType.FUT else f" {trimmed(self.strike)}"
        return f"{self.underlying.symbol} {day_text(self.expiry)}{strike} {self.option_type}"


class LotSize(models.Model):
    """Units per lot of a contract, from a date on (instrument files state it daily)."""

    contract = models.ForeignKey(Contract, on_delete=models.CASCADE, related_name="lot_sizes")
    effective_from = models.DateField()
    lot_size = models.PositiveIntegerField()
    source = models.CharField(max_length=60)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["contract", "effective_from"], name="lot_size_contract_from_uniq"
            ),
            models.CheckConstraint(condition=Q(lot_size__gt=0), name="lot_size_positive"),
        )

    def __str__(self) -> str:
        return f"{self.contract_id} from {self.effective_from}: {self.lot_size}"


class FreezeQuantity(models.Model):
    """Largest quantity (units) of one order, per underlying, from a date on.

    No instrument file contains it; it is loaded from a dated table with its circular as source.
    """

    underlying = models.ForeignKey(Underlying, on_delete=models.CASCADE, related_name="freezes")
    effective_from = models.DateField()
    quantity = models.PositiveIntegerField()
    source = models.CharField(max_length=200)

    class Meta:
        ordering = ("underlying", "-effective_from")
        verbose_name_plural = "freeze quantities"
        constraints = (
            models.UniqueConstraint(
                fields=["underlying", "effective_from"], name="freeze_underlying_from_uniq"
            ),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="freeze_positive"),
        )

    def __str__(self) -> str:
        return f"{self.underlying_id} from {self.effective_from}: {self.quantity}"
