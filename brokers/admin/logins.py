"""Daily logins of customers' accounts."""

from __future__ import annotations

from django.contrib import admin

from brokers.models import LoginAttempt
from brokers.selectors import account_keys, customers_account_keys
from quantleap.core.admin import (
    LargeTableMixin,
    ReadOnlyAdmin,
)
from quantleap.core.large_lists import through


@admin.register(LoginAttempt)
class LoginAttemptAdmin(LargeTableMixin, ReadOnlyAdmin):
    """Started and finished daily logins. The state itself is stored as a hash and never shown."""

    list_display = ("account", "environment", "created_at", "expires_at", "used_at")
    list_filter = ("environment", ("used_at", admin.EmptyFieldListFilter))
    searches = (
        through("account_id", account_keys, "the beginning of a client id"),
        through("account_id", customers_account_keys, "a customer's e-mail, name or id"),
    )
    list_select_related = ("account",)
    ordering = ("-id",)
    fields = ("account", "environment", "redirect_uri", "created_at", "expires_at", "used_at")
    readonly_fields = ("environment",)
