"""Logins without a broker: its requests, and its answers."""

from __future__ import annotations

from typing import Any

from brokers.models import BrokerAccount
from brokers.tests.factories import make_account
from partners.tests.factories import Tenant, make_customer, make_partner, make_tenant

BACK = "https://partner.example/back"


class Desk:
    """A partner, its account at ``broker``, and the calls of a login."""

    def __init__(self, broker: str = "zebu", environment: str = "live") -> None:
        partner = make_partner(oauth_redirect_urls=[BACK])
        self.tenant: Tenant = make_tenant(environment=environment, partner=partner)
        self.account = make_account(
            make_customer(partner, environment=environment), broker, "AB1234"
        )
        self.base = "/partner/broker-accounts/AB1234/oauth"
        self.email = self.account.customer.email

    def initiate(self, **more: Any) -> Any:
        return self.tenant.client.post(f"{self.base}/initiate", {"user_email": self.email, **more})

    def state(self) -> str:
        state: str = self.initiate().json()["state"]
        return state

    def callback(self, state: str, /, **more: Any) -> Any:
        body = {"user_email": self.email, "request_token": "code1", "state": state} | more
        return self.tenant.client.post(f"{self.base}/callback", body)

    def fresh(self) -> BrokerAccount:
        return BrokerAccount.objects.get(pk=self.account.pk)
