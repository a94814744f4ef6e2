"""Routes of the room partners."""

from __future__ import annotations

from django.urls import URLPattern, path

from partners.api.views import CustomerDetailView, CustomerEmailView, CustomersView, UserTokensView

urlpatterns: list[URLPattern] = [
    path("partner/user-tokens", UserTokensView.as_view(), name="user-tokens"),
    path("partner/customers", CustomersView.as_view(), name="partner-customers"),
    path("partner/customers/<str:user_id>", CustomerDetailView.as_view(), name="partner-customer"),
    path(
        "partner/customers/<str:user_id>/email",
        CustomerEmailView.as_view(),
        name="partner-customer-email",
    ),
]
