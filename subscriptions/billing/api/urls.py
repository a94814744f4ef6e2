"""Routes of billing."""

from __future__ import annotations

from django.urls import URLPattern, path

from subscriptions.billing.api import documents

urlpatterns: list[URLPattern] = [
    path(
        "user/invoices/<str:invoice_id>/pdf",
        documents.UserInvoicePdfView.as_view(),
        name="user-invoice-pdf",
    ),
]
