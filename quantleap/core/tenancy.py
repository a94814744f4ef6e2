"""Ownership of rows: every row of a tenant has a partner and an environment."""

from __future__ import annotations

from typing import Self, TypeVar

from django.db import models

M = TypeVar("M", bound=models.Model)


class Environment(models.TextChoices):
    """Live keys act on real customers; test keys see the sandbox. The two never mix."""

    LIVE = "live", "Live"
    TEST = "test", "Test"


class TenantQuerySet(models.QuerySet[M]):
    """A queryset that is filtered by its tenant."""

    def for_partner(self, partner_id: int | None, environment: str) -> Self:
        """Rows of one partner in one environment; ``None`` is the platform's direct customers."""
        return self.filter(partner_id=partner_id, environment=environment)


class TenantOwned(models.Model):
    """Tenant columns. Core has no Partner model, so ``partner_id`` is not a foreign key here."""

    partner_id = models.BigIntegerField(
        null=True, blank=True, editable=False, help_text="Owning partner; empty for direct."
    )
    environment = models.CharField(
        max_length=4, choices=Environment.choices, default=Environment.LIVE, editable=False
    )

    class Meta:
        abstract = True
