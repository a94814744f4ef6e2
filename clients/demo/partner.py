"""The partner's backend: onboards customers over the API and reads their results."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Final, TypeVar

import requests

from clients.demo.broker import log_in
from clients.demo.evidence import (
    Commission,
    Execution,
    Invoice,
    Order,
    Revenue,
    Subscription,
)
from clients.demo.progress import Progress
from clients.demo.staff import PartnerKey
from clients.demo.story import Customer

TIMEOUT: Final = 30
AT_ONCE: Final = 12
PAGE: Final = "100"
T = TypeVar("T")


class ApiError(RuntimeError):
    """An unexpected answer, with its status, code and message."""

    def __init__(self, method: str, path: str, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{method} {path} -> {status} {body.get('message', body)}")


class PartnerApi:
    """Calls with one key. Each thread has its own connection."""

    def __init__(self, base_url: str, key: PartnerKey) -> None:
        self.base_url = f"{base_url}/api/v1"
        self.headers = {"Authorization": f"Bearer {key.key}", "X-Partner-Secret": key.secret}
        self._local = threading.local()

    @property
    def session(self) -> requests.Session:
        """This thread's connection."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.headers.update(self.headers)
        return session

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str = "",
        **query: str,
    ) -> dict[str, Any]:
        """One call; returns its JSON, with exact decimals. Raises ApiError above 299."""
        answer = self.session.request(
            method,
            self.base_url + path,
            json=body,
            params=query or None,
            headers={"Idempotency-Key": idempotency_key} if idempotency_key else None,
            timeout=TIMEOUT,
        )
        try:
            said: dict[str, Any] = answer.json(parse_float=Decimal)
        except ValueError:
            said = {"message": answer.text[:300]}
        if answer.status_code >= 300:
            raise ApiError(method, path, answer.status_code, said)
        return said

    # -- onboarding --------------------------------------------------------------------------
    def templates(self) -> dict[str, str]:
        """Name -> public id of the templates on offer."""
        rows = self.call("GET", "/partner/marketplace/templates", per_page=PAGE)["templates"]
        return {row["name"]: row["template_id"] for row in rows}

    def connect(self, customer: Customer) -> None:
        """Connect the customer's broker account with its credentials."""
        self.call(
            "POST",
            "/partner/broker-accounts",
            {
                "user_email": customer.email,
                "user_name": customer.name,
                "broker_name": customer.broker,
                "client_id": customer.client_id,
                "api_key": customer.api_key,
                "api_secret": f"secret-{customer.api_key}",
            },
            idempotency_key=f"connect-{customer.number}",
        )

    def daily_login(self, customer: Customer) -> None:
        """The daily login: initiate, the broker's own page, callback."""
        path = f"/partner/broker-accounts/{customer.client_id}/oauth"
        who = {"user_email": customer.email, "broker_name": customer.broker}
        started = self.call("POST", f"{path}/initiate", who)
        with requests.Session() as person:
            code, _ = log_in(person, started["oauth_url"], customer.client_id)
        self.call(
            "POST", f"{path}/callback", {**who, "request_token": code, "state": started["state"]}
        )

    def subscribe(self, customer: Customer, template_id: str) -> str:
        """Subscribe by reference; returns the subscription's id. Idempotent."""
        body: dict[str, Any] = {
            "template_id": template_id,
            "user_email": customer.email,
            "user_state": customer.state,
            "broker": customer.broker,
            "broker_client_id": customer.client_id,
            "lot_multiplier": float(customer.multiplier),
        }
        if customer.max_lots_per_order:
            body["max_lots_per_order"] = customer.max_lots_per_order
        said = self.call(
            "POST",
            "/partner/marketplace/subscribe",
            body,
            idempotency_key=f"subscribe-{customer.number}-{template_id}",
        )
        return str(said["subscription_id"])

    def pause(self, subscription_id: str) -> bool:
        """Pause; returns whether this prevents the next entry."""
        said = self.call("PUT", f"/partner/subscriptions/{subscription_id}/pause", {})
        return bool(said["next_entry_affected"])

    def cancel(self, subscription_id: str) -> bool:
        """Cancel; returns whether this prevents the next entry."""
        said = self.call("DELETE", f"/partner/subscriptions/{subscription_id}")
        return bool(said["next_entry_affected"])

    # -- looking -----------------------------------------------------------------------------
    def read_back(
        self, subscription_id: str, day: dt.date
    ) -> tuple[Subscription, Execution | None]:
        """The subscription as it is now, and its execution on a day (None: there is none)."""
        said = self.call("GET", f"/partner/subscriptions/{subscription_id}")
        mine = [row for row in said["last_executions"] if row["trade_date"] == day.isoformat()]
        execution = read_execution(subscription_id, mine[0]) if mine else None
        return Subscription(said["subscription_id"], said["status"]), execution

    def put_stop(self, subscription_id: str) -> Decimal | None:
        """The current stop price of the put that a straddle holds."""
        rows = self.call("GET", f"/partner/subscriptions/{subscription_id}/positions")["positions"]
        stops = [row["stop_price"] for row in rows if is_put(row["contract"]) and row["quantity"]]
        return Decimal(stops[0]) if stops and stops[0] is not None else None

    # -- money -------------------------------------------------------------------------------
    def invoices(self) -> list[Invoice]:
        """All invoices of the partner's customers, oldest first."""
        invoices: list[Invoice] = []
        while True:
            page = str(len(invoices) // int(PAGE) + 1)
            said = self.call("GET", "/partner/invoices", page=page, per_page=PAGE)
            invoices += [_invoice(row) for row in said["invoices"]]
            if len(invoices) >= said["pagination"]["total"] or not said["invoices"]:
                return invoices[::-1]

    def commissions(self) -> list[Commission]:
        """The partner's commission rows, newest first."""
        commissions: list[Commission] = []
        said = self.call("GET", "/partner/commissions")
        while True:
            commissions += [
                Commission(row["commission_id"], row["kind"], row["invoice_id"], _rupees(row))
                for row in said["commissions"]
            ]
            if said["next_cursor"] is None:
                return commissions
            said = self.call("GET", "/partner/commissions", cursor=said["next_cursor"])

    def revenue(self, month: str) -> Revenue:
        """The partner's report of a month (YYYY-MM)."""
        said = self.call("GET", "/partner/revenue", month=month)
        return Revenue(
            invoices=said["revenue"]["invoices"],
            invoiced=_rupees(said["revenue"], "invoiced"),
            payments=_rupees(said["revenue"], "payments"),
            commission=_rupees(said["commission"], "net"),
        )

    def user_token(self, email: str) -> str:
        """A token with which a customer acts for themselves."""
        said = self.call("POST", "/partner/user-tokens", {"user_email": email})
        return str(said["user_token"])

    def invoice_pdf(self, token: str, invoice_id: str) -> tuple[int, bytes]:
        """Status and bytes of an invoice's document, requested by a customer."""
        answer = requests.get(
            f"{self.base_url}/user/invoices/{invoice_id}/pdf",
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
        )
        return answer.status_code, answer.content


def is_put(symbol: str) -> bool:
    """Whether an option's name at either broker is a put's."""
    return symbol.endswith("PE") or "P" in symbol.rstrip("0123456789")[-1:]


def read_execution(subscription_id: str, row: Mapping[str, Any]) -> Execution:
    """One execution of the API's list."""
    failure = row.get("failure") or {}
    return Execution(
        subscription_id=subscription_id,
        status=row["status"],
        cause=failure.get("cause") or "",
        orders=tuple(_order(order) for order in row["orders"]),
    )


def _order(row: Mapping[str, Any]) -> Order:
    sent = row["sent_at"]
    return Order(
        tag=row["tag"],
        purpose=row["purpose"],
        reason=row["reason"] or "",
        symbol=row["symbol"],
        side=row["side"],
        quantity=row["quantity"],
        filled=row["filled_quantity"],
        state=row["state"],
        cause=row["cause"] or "",
        sent_at=dt.datetime.fromisoformat(sent) if sent else None,
    )


def _invoice(row: Mapping[str, Any]) -> Invoice:
    return Invoice(
        id=row["invoice_id"],
        number=row["number"],
        email=row["user_email"],
        subscription_id=row["subscription_id"],
        status=row["status"],
        period_start=dt.date.fromisoformat(row["period_start"]),
        period_end=dt.date.fromisoformat(row["period_end"]),
        taxable=_rupees(row, "taxable"),
        cgst=_rupees(row, "cgst"),
        sgst=_rupees(row, "sgst"),
        igst=_rupees(row, "igst"),
        total=_rupees(row, "total"),
        paid=_rupees(row, "paid"),
        outstanding=_rupees(row, "outstanding"),
    )


def _rupees(row: Mapping[str, Any], name: str = "amount") -> Decimal:
    """A JSON number of rupees, exactly as written, with both decimals."""
    return Decimal(row[name]).quantize(Decimal("0.01"))


def in_parallel(
    title: str, items: Iterable[T], do: Callable[[T], None], *, at_once: int = AT_ONCE
) -> None:
    """Run ``do`` for every item, a few at a time, with a progress bar; the first error ends it."""
    todo = list(items)
    with Progress(title, len(todo)) as progress, ThreadPoolExecutor(at_once) as pool:
        waiting = [pool.submit(do, item) for item in todo]
        try:
            for future in waiting:
                future.result()
                progress.step()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
