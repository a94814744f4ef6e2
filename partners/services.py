"""Services of this room: partners, keys, user tokens."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q

from marketplace.selectors.catalogue import find_shown
from partners import permissions as known
from partners.api_keys import ParsedSecret, new_key, new_secret
from partners.identity import find_or_create_customer
from partners.models import Customer, Partner, PartnerKey, PartnerSecret, UserToken
from partners.ports import KNOWN_BROKERS
from partners.revenue_shares import ShareTerms, set_share
from partners.selectors import DEFAULT_SHARE_BPS, named_customer
from partners.verification import hash_of, mac_of
from quantleap.core import audit
from quantleap.core.audit import Actor
from quantleap.core.clock import ist_date
from quantleap.core.crypto import fingerprint
from quantleap.core.errors import (
    InvalidRequest,
    InvalidTransition,
    NotFound,
    PartnerSuspended,
)
from quantleap.core.identifiers import ascii_lower

KEY_LIFETIME: Final = dt.timedelta(days=365)
ROTATION_OVERLAP: Final = dt.timedelta(hours=24)
USER_TOKEN_LIFETIME: Final = dt.timedelta(minutes=15)
USER_TOKEN_PREFIX: Final = "ut_"  # noqa: S105  a prefix
_USER_TOKEN_BYTES: Final = 32
_TOKEN_PURPOSE: Final = "partners.user_token"  # noqa: S105  names the hash's use


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key and its secret, which only this answer ever shows."""

    key_id: int
    key_public_id: str
    key: str
    secret: str
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A user token and its expiry; the text exists nowhere else."""

    token: str
    customer: Customer
    expires_at: dt.datetime


def create_partner(
    *,
    slug: str,
    name: str,
    default_broker: str,
    actor: Actor,
    now: dt.datetime,
    partner_type: str = Partner.Type.BROKER,
    default_state: str = "",
    oauth_redirect_urls: Iterable[str] = (),
    share_bps: int = DEFAULT_SHARE_BPS,
) -> Partner:
    """Create a partner with its revenue share from today (IST) on.

    InvalidRequest if the slug is taken or the broker unknown; ValidationError (Django's) if a value
    is malformed.
    """
    known_brokers = KNOWN_BROKERS.get()()
    if default_broker not in known_brokers:
        message = f"Must be {' or '.join(known_brokers)}."
        raise InvalidRequest(f"default_broker: {message}", details={"default_broker": message})
    partner = Partner(
        slug=ascii_lower(slug),
        name=name,
        type=partner_type,
        default_broker=default_broker,
        default_state=default_state,
        oauth_redirect_urls=list(oauth_redirect_urls),
        created_at=now,
    )
    if Partner.objects.filter(slug=partner.slug).exists():
        raise InvalidRequest("slug: taken", details={"slug": "Another partner has it."})
    partner.full_clean()
    with transaction.atomic():
        partner.save(force_insert=True)
        set_share(
            partner_id=partner.pk,
            terms=ShareTerms(share_bps, ist_date(now)),
            actor=actor,
            now=now,
            first=True,
        )
        audit.record(
            actor=actor,
            action="partner.created",
            target_type="partner",
            target_id=partner.slug,
            partner_id=partner.pk,
        )
    return partner


def note_partner_edited(
    *, partner: Partner, created: bool, fields: Iterable[str], actor: Actor
) -> None:
    """Write the audit entry of a saved partner form: the names of the changed fields, never their
    values.

    Writes none if the partner's own fields are unchanged: a share has an entry of its own.
    """
    typed = sorted(fields)
    if not typed and not created:
        return
    audit.record(
        actor=actor,
        action="partner.created" if created else "partner.edited",
        target_type="partner",
        target_id=partner.slug,
        partner_id=partner.pk,
        data={"fields": typed},
    )


def issue_key(
    *,
    partner_id: int,
    environment: str,
    permissions: Iterable[str],
    actor: Actor,
    now: dt.datetime,
    label: str = "",
    requests_per_minute: int = 60,
    requests_per_day: int = 10_000,
    class_limits: Mapping[str, int] | None = None,
    expires_at: dt.datetime | None = None,
) -> IssuedKey:
    """Issue a key with its first secret, valid for a year unless ``expires_at`` says otherwise.

    ``class_limits``: other requests per minute than ``requests_per_minute``, by class (browse,
    subscribe, manage, login). InvalidRequest for an unknown permission or a past expiry, NotFound
    for an unknown partner.
    """
    granted = _checked_permissions(permissions)
    end = expires_at or now + KEY_LIFETIME
    if end <= now:
        raise InvalidRequest("expires_at: in the past", details={"expires_at": "Must be later."})
    partner = Partner.objects.filter(pk=partner_id).first()
    if partner is None:
        raise NotFound
    secret = new_secret(partner.slug, environment)
    hashed = _hash(secret)  # takes a third of a second, so before the transaction
    with transaction.atomic():
        key = PartnerKey.objects.create(
            partner=partner,
            environment=environment,
            key=new_key(partner.slug, environment),
            label=label,
            permissions=granted,
            requests_per_minute=requests_per_minute,
            requests_per_day=requests_per_day,
            **{f"{name}_per_minute": limit for name, limit in (class_limits or {}).items()},
            created_at=now,
            expires_at=end,
        )
        _add_secret(key, 1, secret, hashed, now)
        _record_key(key, "key.issued", actor, {"permissions": granted, "last4": secret.text[-4:]})
    return IssuedKey(key.pk, key.public_id, key.key, secret.text, end)


def rotate_key(
    *, key_id: int, actor: Actor, now: dt.datetime, overlap: dt.timedelta = ROTATION_OVERLAP
) -> IssuedKey:
    """Add a secret to a key; the previous one stays valid for ``overlap``, older ones end now.

    At most two secrets are live at a time. NotFound, or InvalidTransition if the key is revoked.
    """
    known_key = PartnerKey.objects.select_related("partner").filter(pk=key_id).first()
    if known_key is None:
        raise NotFound
    secret = new_secret(known_key.partner.slug, known_key.environment)
    hashed = _hash(secret)
    with transaction.atomic():
        key = PartnerKey.objects.select_for_update().get(pk=key_id)
        if key.status != PartnerKey.Status.ACTIVE:
            raise InvalidTransition("The key is revoked.", status=key.status)
        newest = key.secrets.aggregate(newest=Max("version"))["newest"] or 0
        live = key.secrets.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))
        live.exclude(version=newest).update(expires_at=now)
        # An overlap may shorten a lifetime that was already limited, but never prolong it.
        end = now + overlap
        key.secrets.filter(version=newest).filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=end)
        ).update(expires_at=end)
        _add_secret(key, newest + 1, secret, hashed, now)
        _record_key(key, "key.rotated", actor, {"last4": secret.text[-4:]})
    return IssuedKey(key.pk, key.public_id, key.key, secret.text, key.expires_at)


def revoke_key(*, key_id: int, actor: Actor, now: dt.datetime) -> bool:
    """Revoke a key permanently, from its next request on. False if it was already revoked."""
    with transaction.atomic():
        changed = PartnerKey.objects.filter(pk=key_id, status=PartnerKey.Status.ACTIVE).update(
            status=PartnerKey.Status.REVOKED
        )
        key = PartnerKey.objects.filter(pk=key_id).first()
        if key is None:
            raise NotFound
        if changed:
            key.secrets.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now)).update(
                expires_at=now
            )
            _record_key(key, "key.revoked", actor, {})
    return bool(changed)


def _checked_permissions(names: Iterable[str]) -> list[str]:
    granted = sorted(set(names))
    unknown = [name for name in granted if name not in known.ALL]
    if unknown:
        message = f"Unknown: {', '.join(unknown)}. Known: {', '.join(known.ALL)}."
        raise InvalidRequest(message, details={"permissions": message})
    return granted


def _hash(secret: ParsedSecret) -> str:
    return hash_of(secret.tail, settings.QUANTLEAP_BCRYPT_ROUNDS)


def _add_secret(
    key: PartnerKey, version: int, secret: ParsedSecret, hashed: str, now: dt.datetime
) -> None:
    mac_key, mac = mac_of(key.key, secret.tail)
    PartnerSecret.objects.create(
        key=key,
        version=version,
        hash=hashed,
        mac=mac,
        mac_key=mac_key,
        last4=secret.text[-4:],
        created_at=now,
    )


def _record_key(key: PartnerKey, action: str, actor: Actor, data: dict[str, object]) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="partner_key",
        target_id=key.public_id,
        partner_id=key.partner_id,
        environment=key.environment,
        data=data,
    )


def mint_user_token(
    *,
    partner_id: int | None,
    environment: str,
    actor: Actor,
    now: dt.datetime,
    email: str = "",
    external_user_id: str = "",
    key_id: int | None = None,
    template_id: str = "",
    known_only: bool = False,
    state: str = "",
) -> MintedToken:
    """Issue a token with which a customer may call ``/user`` for 15 minutes.

    The customer is found or created under the partner (:func:`partners.identity.
    find_or_create_customer`); ``state`` (GST code) fills in theirs. ``key_id`` is the calling
    partner's key: the token has that key's permissions (:mod:`partners.api.authentication`); a
    direct customer has none. ``template_id`` is the template that a deep link shows first; NotFound
    if the customer may not see it, or the key is not this partner's in this environment. Only a
    keyed hash of the token is stored. With ``known_only`` no customer is created: PartnerSuspended.
    """
    if partner_id is not None and not (
        PartnerKey.objects.filter(
            pk=key_id or 0, partner_id=partner_id, environment=environment
        ).exists()
    ):
        raise NotFound
    if known_only and not named_customer(
        partner_id=partner_id,
        environment=environment,
        external_user_id=external_user_id,
        email=email,
    ):
        raise PartnerSuspended("This partner is suspended: it cannot add customers.")
    token = USER_TOKEN_PREFIX + secrets.token_urlsafe(_USER_TOKEN_BYTES)
    end = now + USER_TOKEN_LIFETIME
    with transaction.atomic():
        customer = find_or_create_customer(
            partner_id=partner_id,
            environment=environment,
            email=email,
            external_user_id=external_user_id,
            state=state,
            actor=actor,
            now=now,
        )
        if template_id and not find_shown(
            template_id,
            partner_id=partner_id,
            environment=environment,
            day=ist_date(now),
            customer_id=customer.pk,
        ):
            raise NotFound
        UserToken.objects.create(
            customer=customer,
            key_id=key_id,
            partner_id=partner_id,
            environment=environment,
            token_hash=token_hash(token),
            template_id=template_id,
            created_at=now,
            expires_at=end,
        )
        audit.record(
            actor=actor,
            action="user_token.minted",
            target_type="customer",
            target_id=customer.public_id,
            partner_id=partner_id,
            environment=environment,
        )
    return MintedToken(token, customer, end)


def token_hash(token: str) -> str:
    """The stored hash of a user token."""
    return fingerprint(token, purpose=_TOKEN_PURPOSE)


def forget_user_tokens(*, now: dt.datetime, keep: dt.timedelta = dt.timedelta(days=1)) -> int:
    """Delete tokens that expired more than ``keep`` ago; returns how many."""
    deleted, _ = UserToken.objects.filter(expires_at__lt=now - keep).delete()
    return deleted
