"""Customers: look, do not touch; what changes them has services of its own."""

from __future__ import annotations

from django.contrib import admin

from partners.admin.common import PartnerColumn, PartnerFilter
from partners.models import Customer
from quantleap.core.admin import LargeTableMixin, ReadOnlyAdmin


@admin.register(Customer)
class CustomerAdmin(PartnerColumn, LargeTableMixin, ReadOnlyAdmin):
    """End users of partners and direct ones."""

    list_display = ("email", "partner_name", "environment", "name", "public_id", "created_at")
    list_filter = (PartnerFilter, "environment")
    search_fields = ("email__startswith", "=public_id", "name")
    readonly_fields = ("partner_name", "environment", "public_id", "created_at")
    fields = ("email", "name", "state", *readonly_fields)
