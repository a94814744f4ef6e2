"""Broker accounts: connect, switch off and on, remove."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction

from brokers import sealed_credentials
from brokers.errors import AccountNotUsable, ClientIdTaken, CredentialsUnreadable
from brokers.models import BrokerAccount
from brokers.ports import ACCOUNT_REMOVAL, ACCOUNT_UNLINK, RemovalEffect
from brokers.selectors import clean_broker, clean_client_id
from brokers.services.audit_entries import record
from partners.identity import find_or_create_customer
from partners.models import Customer
from quantleap.core.audit import Actor
from quantleap.core.errors import InvalidRequest
from quantleap.core.ip_addresses import parse_address
from quantleap.core.outbound_targets import UnsafeTarget, parse_url
from quantleap.core.production_checks import is_production

Status = BrokerAccount.Status

# RFC 3986, userinfo
_PROXY_LOGIN: Final = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_ALGO_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,40}")


@dataclass(frozen=True, slots=True)
class Connected:
    """The account, and whether this call created it."""

    account: BrokerAccount
    created: bool


def connect_account(
    *,
    customer: Customer,
    broker: str,
    client_id: str,
    api_key: str,
    api_secret: str,
    actor: Actor,
    now: dt.datetime,
) -> Connected:
    """Store a customer's credentials, creating the account if it is new.

    For an existing account it replaces the credentials and drops the session, which belongs to the
    old ones. ClientIdTaken (409) if the client id is another customer's; InvalidRequest (400) for
    an invalid field.
    """
    key = sealed_credentials.check_credential("api_key", api_key)
    secret = sealed_credentials.check_credential("api_secret", api_secret)
    with transaction.atomic():
        account, created = _locked_account(customer, broker, client_id, now)
        if _differ(account, key, secret):
            account.api_key = sealed_credentials.seal(account, "api_key", key)
            account.api_secret = sealed_credentials.seal(account, "api_secret", secret)
            account.access_token = ""
            account.token_expires_at = None
        if account.status == Status.NEEDS_CREDENTIALS:
            account.status = Status.ENABLED
        account.updated_at = now
        account.save()
        record(account, "broker_account.connected" if created else "broker_account.updated", actor)
    return Connected(account, created)


def _differ(account: BrokerAccount, key: str, secret: str) -> bool:
    """Whether these credentials differ from the stored ones; unreadable ones always do."""
    try:
        known = sealed_credentials.credentials_of(account)
        sealed_credentials.open_sealed(account, "access_token")
    except CredentialsUnreadable:
        return True
    return (known.api_key, known.api_secret) != (key, secret)


def connect_account_of(
    *,
    partner_id: int,
    environment: str,
    email: str,
    external_user_id: str,
    name: str,
    broker: str,
    client_id: str,
    api_key: str,
    api_secret: str,
    actor: Actor,
    now: dt.datetime,
    state: str = "",
) -> Connected:
    """:func:`connect_account` for a partner's customer, found or created by id or e-mail.

    One transaction: a refused account leaves no customer behind.
    """
    with transaction.atomic():
        customer = find_or_create_customer(
            partner_id=partner_id,
            environment=environment,
            email=email,
            external_user_id=external_user_id,
            name=name,
            state=state,
            actor=actor,
            now=now,
        )
        return connect_account(
            customer=customer,
            broker=broker,
            client_id=client_id,
            api_key=api_key,
            api_secret=api_secret,
            actor=actor,
            now=now,
        )


def ensure_account(
    *, customer: Customer, broker: str, client_id: str, actor: Actor, now: dt.datetime
) -> BrokerAccount:
    """The customer's account with this client id, created without credentials if unknown.

    For subscribing with ``auto_link_broker``. ClientIdTaken (409) if it is another customer's.
    """
    with transaction.atomic():
        account, created = _locked_account(customer, broker, client_id, now)
        if created:
            record(account, "broker_account.linked", actor)
    return account


def _locked_account(
    customer: Customer, broker: str, client_id: str, now: dt.datetime
) -> tuple[BrokerAccount, bool]:
    """The row, inserted if missing, locked until commit. The unique constraint decides a race."""
    kind, cleaned = clean_broker(broker), clean_client_id(client_id)
    known = (
        BrokerAccount.objects.select_for_update(of=("self",))
        .for_partner(customer.partner_id, customer.environment)
        .select_related("customer")
        .exclude(status=Status.REMOVED)
        .filter(broker=kind, client_id=cleaned)
    )
    account = known.first()
    if account is None:
        fresh = BrokerAccount(
            partner_id=customer.partner_id,
            environment=customer.environment,
            customer=customer,
            broker=kind,
            client_id=cleaned,
            created_at=now,
            updated_at=now,
        )
        try:
            with transaction.atomic():
                fresh.save(force_insert=True)
        except IntegrityError:
            account = known.get()  # another transaction was quicker; its row is locked now
        else:
            return fresh, True
    if account.customer_id != customer.pk:
        raise ClientIdTaken(
            details={"client_id": "Belongs to another customer."},
        )
    if account.removal_requested_at is not None:
        raise AccountNotUsable("The account is being removed", status=account.status)
    return account, False


def disable_account(*, account: BrokerAccount, actor: Actor, now: dt.datetime) -> BrokerAccount:
    """Switch off: no new entries. A disabled account does not change; credentials stay."""
    return _switch(
        account,
        source=Status.ENABLED,
        target=Status.DISABLED,
        action="broker_account.disabled",
        actor=actor,
        now=now,
    )


def enable_account(*, account: BrokerAccount, actor: Actor, now: dt.datetime) -> BrokerAccount:
    """Switch a disabled account on again."""
    return _switch(
        account,
        source=Status.DISABLED,
        target=Status.ENABLED,
        action="broker_account.enabled",
        actor=actor,
        now=now,
    )


def mark_held(*, account_id: int, held: bool, now: dt.datetime) -> None:
    """Record whether somebody holds an account: it then enters nothing, but exits as usual.

    The customer's own switch and credentials stay as they are. Another room records who holds it.
    """
    BrokerAccount.objects.filter(pk=account_id).update(held=held, updated_at=now)


def _switch(
    account: BrokerAccount, *, source: str, target: str, action: str, actor: Actor, now: dt.datetime
) -> BrokerAccount:
    with transaction.atomic():
        moved = BrokerAccount.objects.filter(
            pk=account.pk, status=source, removal_requested_at=None
        ).update(status=target, updated_at=now)
        if moved:
            record(account, action, actor)
    account.refresh_from_db()
    if account.status != target:
        raise AccountNotUsable(
            f"A {account.status} account cannot become {target}", status=account.status
        )
    return account


def set_egress(
    *, account: BrokerAccount, egress: str, algo_id: str, actor: Actor, now: dt.datetime
) -> None:
    """Set where the account's calls leave, and the exchange's algo id for its orders.

    ``egress`` is a proxy (``http://host:port``), a source IP address, or empty; InvalidRequest for
    anything else. Brokers register one address per customer (NSE/INVG/67858).
    """
    leaves, algo = egress.strip(), algo_id.strip()
    if leaves:
        leaves = _checked_egress(leaves)
    if algo and not _ALGO_ID.fullmatch(algo):
        raise InvalidRequest(
            "algo_id is malformed", details={"algo_id": "Letters, digits, dash; at most 40."}
        )
    with transaction.atomic():
        BrokerAccount.objects.filter(pk=account.pk).update(
            egress=sealed_credentials.seal(account, "egress", leaves), algo_id=algo, updated_at=now
        )
        record(account, "broker_account.egress_set", actor)


def _checked_egress(text: str) -> str:
    """The egress in its stored spelling; InvalidRequest says what is wrong with it.

    A proxy may be in our own network; but on this very machine, or on an address that no machine
    has (link-local and the clouds' metadata among them), it would be a way around the firewall.
    """
    try:
        if "://" not in text:
            return _source_address(text)
        return _proxy(text)
    except UnsafeTarget as error:
        raise InvalidRequest(f"egress: {error}", details={"egress": str(error)}) from error


def _source_address(text: str) -> str:
    address = parse_address(text)
    if address is None:
        raise UnsafeTarget("Neither http://host:port nor an IP address.")
    if address.is_unspecified or address.is_multicast:
        raise UnsafeTarget("Calls cannot leave from this address.")
    return str(address)


def _proxy(text: str) -> str:
    scheme, _, rest = text.partition("://")
    login, at, host = rest.rpartition("@")
    if not _PROXY_LOGIN.fullmatch(login):
        raise UnsafeTarget("Percent-encode special characters in the proxy's name and password.")
    target = parse_url(f"{scheme}://{host}", schemes=("http", "https"))
    if target.rest not in ("", "/"):
        raise UnsafeTarget("A proxy has no path: http://host:port.")
    address = target.address
    inner = target.is_loopback or (
        address is not None
        and (address.is_link_local or address.is_unspecified or address.is_multicast)
    )
    if inner and is_production(settings):
        raise UnsafeTarget("A proxy on this machine or on a link-local address is not used.")
    return f"{target.scheme}://{login}{at}{target.host}:{target.port}"


def remove_account(
    *, account: BrokerAccount, exit_now: bool, actor: Actor, now: dt.datetime
) -> RemovalEffect:
    """Erase the credentials at once and remove the account from everything.

    With open positions: OpenPositions (409) unless ``exit_now``; with it the account takes no new
    entry, and :func:`finish_removal` erases it after the last exit.
    """
    with transaction.atomic():
        # Lock the row first, so that two removals have one order. Without its key: arming holds
        # allocations and only refers to the account, and must not wait here (deadlock).
        locked = BrokerAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        if locked.status == Status.REMOVED:
            return RemovalEffect(next_entry_affected=False)
        # Unlinking waits for a running arming; what that has armed can then be withdrawn.
        for unlink in ACCOUNT_UNLINK.all():
            unlink(account.pk, now=now)
        effect = ACCOUNT_REMOVAL.get()(account.pk, exit_now=exit_now, now=now)
        if effect.deferred:
            BrokerAccount.objects.filter(pk=account.pk).update(
                removal_requested_at=now, updated_at=now
            )
            record(locked, "broker_account.removal_requested", actor)
        else:
            _erase(locked, actor, now)
    return effect


def finish_removal(*, account_id: int, actor: Actor, now: dt.datetime) -> bool:
    """Erase an account whose removal waited for its exits; True if this call did it."""
    with transaction.atomic():
        account = (
            BrokerAccount.objects.select_for_update(no_key=True)
            .filter(pk=account_id, removal_requested_at__isnull=False)
            .exclude(status=Status.REMOVED)
            .first()
        )
        if account is None:
            return False
        _erase(account, actor, now)
    return True


def _erase(account: BrokerAccount, actor: Actor, now: dt.datetime) -> None:
    for unlink in ACCOUNT_UNLINK.all():
        unlink(account.pk, now=now)
    BrokerAccount.objects.filter(pk=account.pk).update(
        status=Status.REMOVED,
        api_key="",
        api_secret="",
        access_token="",
        egress="",
        token_expires_at=None,
        updated_at=now,
    )
    account.logins.all().delete()
    record(account, "broker_account.removed", actor)
