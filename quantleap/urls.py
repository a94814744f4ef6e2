"""Routes: `/api/v1/…` and the same unversioned, the console at `/admin/`."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from brokers.login_landing import broker_login_done
from partners.emails.page import confirm_email
from quantleap.core import console
from quantleap.core.api import exceptions
from quantleap.core.login import console_login, console_logout, console_password_change

api: list[URLPattern | URLResolver] = [
    path("", include("marketplace.api.urls")),
    path("", include("partners.api.urls")),
    path("", include("brokers.api.urls")),
    path("", include("subscriptions.api.urls")),
    path("", include("subscriptions.billing.api.urls")),
    path("", include("execution.api.urls")),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(url="/admin/"), name="home"),
    re_path("^broker-login/done/?$", broker_login_done, name="broker-login-done"),
    path("confirm-email", confirm_email, name="confirm-email"),
    path("admin/login/", console_login),
    path("admin/logout/", console_logout),
    path("admin/password_change/", admin.site.admin_view(console_password_change)),
    path("admin/search/", admin.site.admin_view(console.search)),
    path("admin/", admin.site.urls),
    path("api/v1/", include("quantleap.core.api.urls")),
    path("api/v1/", include((api, "v1"))),
    path("", include((api, "unversioned"))),
]

handler400 = exceptions.bad_request
handler403 = exceptions.forbidden
handler404 = exceptions.not_found
handler500 = exceptions.server_error
