"""Routes of the room brokers."""

from __future__ import annotations

from django.urls import URLPattern, path

from brokers.api import partner, user

urlpatterns: list[URLPattern] = [
    path(
        "partner/broker-accounts",
        partner.AccountsView.as_view(),
        name="partner-broker-accounts",
    ),
    path(
        "partner/broker-accounts/<str:client_id>",
        partner.AccountView.as_view(),
        name="partner-broker-account",
    ),
    path(
        "partner/broker-accounts/<str:client_id>/oauth/initiate",
        partner.InitiateView.as_view(),
        name="partner-broker-login",
    ),
    path(
        "partner/broker-accounts/<str:client_id>/oauth/callback",
        partner.CallbackView.as_view(),
        name="partner-broker-callback",
    ),
    path("user/broker-accounts", user.AccountsView.as_view(), name="user-broker-accounts"),
    path(
        "user/broker-accounts/<str:client_id>",
        user.AccountView.as_view(),
        name="user-broker-account",
    ),
    path(
        "user/broker-accounts/<str:client_id>/oauth/initiate",
        user.InitiateView.as_view(),
        name="user-broker-login",
    ),
    path(
        "user/broker-accounts/<str:client_id>/oauth/callback",
        user.CallbackView.as_view(),
        name="user-broker-callback",
    ),
]
