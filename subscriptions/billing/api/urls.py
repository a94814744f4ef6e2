"""Routes of billing."""

from __future__ import annotations

from django.urls import URLPattern, path

from subscriptions.billing.api import documents, partner, user

urlpatterns: list[URLPattern] = [
    path("partner/invoices", partner.InvoicesView.as_view(), name="partner-invoices"),
    path(
        "partner/invoices/<str:invoice_id>", partner.InvoiceView.as_view(), name="partner-invoice"
    ),
    path(
        "partner/invoices/<str:invoice_id>/pdf",
        documents.PartnerInvoicePdfView.as_view(),
        name="partner-invoice-pdf",
    ),
    path("partner/payments", partner.PaymentsView.as_view(), name="partner-payments"),
    path("partner/revenue", partner.RevenueView.as_view(), name="partner-revenue"),
    path("partner/commissions", partner.CommissionsView.as_view(), name="partner-commissions"),
    path("user/invoices", user.InvoicesView.as_view(), name="user-invoices"),
    path("user/invoices/<str:invoice_id>", user.InvoiceView.as_view(), name="user-invoice"),
    path("user/payments", user.PaymentsView.as_view(), name="user-payments"),
    path(
        "user/invoices/<str:invoice_id>/pdf",
        documents.UserInvoicePdfView.as_view(),
        name="user-invoice-pdf",
    ),
]
