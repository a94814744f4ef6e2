"""Callers with bad credentials, and callers who ask for objects of others."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

from partners.models import Partner, PartnerSecret, UserToken
from partners.tests.factories import key_headers, make_key, make_partner
from quantleap.core import clock
from quantleap.core.tenancy import Environment
from quantleap.core.tests.matrix import bodies
from quantleap.core.tests.matrix.cases import (
    INVALID,
    JUNK,
    NOBODYS,
    UNKNOWN,
    UNKNOWN_QUERY,
    Cases,
    all_wrong,
    request,
    with_body,
)
from quantleap.core.tests.matrix.dataset import (
    Dataset,
    Headers,
    Side,
    bearer,
    ended_key,
    lacks,
    make_side,
    user_token,
)
from quantleap.core.tests.matrix.routes import operations


def _partner_credentials(dataset: Dataset) -> Iterator[tuple[str, Headers]]:
    """Credentials that are missing, malformed, mixed up, unknown or expired."""
    partner = dataset.me.partner
    assert partner is not None
    good = dataset.partner_headers
    key, secret = good["Authorization"], good["X-Partner-Secret"]
    test, other = (
        key_headers(make_key(partner, Environment.TEST)),
        key_headers(make_key(make_partner())),
    )
    now = clock.now()
    yield "nothing", {}
    yield "no secret", {"Authorization": key}
    yield "no key", {"X-Partner-Secret": secret}
    for word in ("", "Bearer", "Bearer ", "Basic Og==", key.replace("Bearer", "Token"), key[7:]):
        yield f"scheme {word[:6]!r}", {**good, "Authorization": word}
    for text in (key[:-1], key + "x", key.upper(), key.replace("_live_", "_test_"), key + " x"):
        yield "key malformed", {**good, "Authorization": text}
    for text in ("", "x", secret[:-1], secret + "x", secret[:-1] + "?", secret.upper(), key[7:]):
        yield "secret malformed", {**good, "X-Partner-Secret": text}
    yield "secret with NUL", {**good, "X-Partner-Secret": secret + "\0"}
    yield "key not ASCII", {**good, "Authorization": "Bearer pk_é_live_" + "x" * 32}
    yield "endless", {"Authorization": "Bearer " + "x" * 5000, "X-Partner-Secret": "y" * 5000}
    yield "other partner's secret", {**good, "X-Partner-Secret": other["X-Partner-Secret"]}
    yield "other environment's secret", {**good, "X-Partner-Secret": test["X-Partner-Secret"]}
    yield "other environment's key", {**good, "Authorization": test["Authorization"]}
    yield (
        "secret of another key",
        {**good, "X-Partner-Secret": _another_key(partner)["X-Partner-Secret"]},
    )
    yield "unknown key", _unknown_key(partner)
    yield "revoked key", ended_key(partner, status="REVOKED")
    yield "expired key", ended_key(partner, expires_at=now - dt.timedelta(seconds=1))
    yield "expired secret", _expired_secret(partner, now)


def _another_key(partner: Partner) -> Headers:
    return key_headers(make_key(partner))


def _unknown_key(partner: Partner) -> Headers:
    """Correct in form and checksum, but deleted."""
    issued = make_key(partner)
    PartnerSecret.objects.filter(key__key=issued.key).delete()
    return key_headers(issued)


def _expired_secret(partner: Partner, now: dt.datetime) -> Headers:
    issued = make_key(partner)
    past = now - dt.timedelta(seconds=1)
    PartnerSecret.objects.filter(key__key=issued.key).update(expires_at=past)
    return key_headers(issued)


def _user_credentials(dataset: Dataset) -> Iterator[tuple[str, Headers]]:
    token = dataset.user_headers["Authorization"]
    customer, now = dataset.me.customer, clock.now()
    yield "nothing", {}
    for word in (
        "",
        "Bearer",
        "Bearer ",
        "Basic Og==",
        token.replace("Bearer", "Token"),
        token[7:],
    ):
        yield f"scheme {word[:6]!r}", {"Authorization": word}
    for text in (token[:-1], token + "x", token.upper(), token + "\0", token + "é", token + " x"):
        yield "token malformed", {"Authorization": text}
    yield "endless", {"Authorization": token + "x" * 5000}
    yield "expired token", bearer(user_token(customer, now - dt.timedelta(minutes=15)))
    yield "revoked token", _revoked(customer, now)


def _revoked(customer: Any, now: dt.datetime) -> Headers:
    token = user_token(customer)
    newest = UserToken.objects.filter(customer=customer).latest("pk")
    UserToken.objects.filter(pk=newest.pk).update(revoked_at=now)
    return bearer(token)


def _suspended() -> Side:
    side = make_side(make_partner())
    assert side.partner is not None
    Partner.objects.filter(pk=side.partner.pk).update(status=Partner.Status.SUSPENDED)
    return side


def credentials(dataset: Dataset) -> Cases:
    """No, malformed, unknown, expired and revoked credentials: 401 before anything else."""
    partner, user = list(_partner_credentials(dataset)), list(_user_credentials(dataset))
    bad: dict[str, list[tuple[str, Headers]]] = {
        "partner": [*partner, ("a user's token", dataset.user_headers)],
        "user": [*user, ("a partner's key", dataset.partner_headers)],
        # A bad credential is a 401 on public routes too; no credential is fine.
        "public": [credential for credential in (*partner, *user) if credential[0] != "nothing"],
    }
    for operation in operations():
        for why, headers in bad[operation.surface]:
            yield request(operation, dataset, why, 401, "invalid_credentials", headers=headers)
            yield request(
                operation,
                dataset,
                f"{why}, all else wrong too",
                401,
                "invalid_credentials",
                headers=headers,
                **all_wrong(operation),
            )


def suspended(dataset: Dataset) -> Cases:
    """A suspended partner's key and its customers' tokens, on routes that are closed to them."""
    side = _suspended()
    assert side.partner is not None
    key, token = key_headers(make_key(side.partner)), bearer(user_token(side.customer))
    for operation in operations():
        callers: dict[str, list[Headers]] = {
            "partner": [key],
            "user": [token],
            "public": [key, token],
        }
        for headers in callers[operation.surface]:
            stays_open = operation.rule.open_when_suspended
            if stays_open and (headers is token or operation.surface == "partner"):
                continue
            for changes in ({}, all_wrong(operation)):
                yield request(
                    operation,
                    dataset,
                    "suspended",
                    403,
                    "partner_suspended",
                    headers=headers,
                    **changes,
                )


def forbidden(dataset: Dataset) -> Cases:
    """A key without the permission, and a caller from the wrong address: 403 before the rest."""
    partner = dataset.me.partner
    assert partner is not None
    elsewhere = make_partner(allowed_ips=["203.0.113.0/24", "2001:db8::/32"])
    distant = key_headers(make_key(elsewhere))
    lacking: dict[tuple[str, bool], Headers] = {}
    for operation in operations():
        if operation.surface != "user":
            for changes in ({}, all_wrong(operation)):
                yield request(
                    operation, dataset, "address", 403, "ip_not_allowed", headers=distant, **changes
                )
        if not operation.permission:
            continue
        who = (operation.permission, operation.surface == "user")
        if who not in lacking:
            lacking[who] = lacks(dataset, *who)
        headers = lacking[who]
        for changes in ({}, all_wrong(operation)):
            yield request(
                operation,
                dataset,
                f"without {operation.permission}",
                403,
                "permission_denied",
                headers=headers,
                names="permission",
                **changes,
            )


def foreign_ids(dataset: Dataset) -> Cases:
    """Ids of others, and unknown ids, at every position of every path: 404, whatever the body."""
    for operation in operations():
        for name in operation.parameters:
            others = {**dataset.foreign_ids(operation.surface, name), **NOBODYS}
            for whose, value in others.items():
                ids: dict[str, Any] = {"ids": {name: value}}
                yield request(operation, dataset, f"{name} of {whose}", *UNKNOWN, **ids)
                if operation.serializer is not None:
                    yield request(
                        operation, dataset, f"{name} of {whose}, junk", *UNKNOWN, body=JUNK, **ids
                    )


def foreign_names_in_bodies(dataset: Dataset) -> Cases:
    """Templates and customers of others, named in a body: also 404."""
    for operation in with_body():
        fields = operation.serializer().fields  # type: ignore[misc]
        good = bodies.good_body(operation, dataset)
        wrong: list[tuple[str, str]] = []
        for name in ("template_id", "template_basket_id"):
            if name in fields:
                foreign = dataset.foreign_ids(operation.surface, "template_id").values()
                wrong += [(name, value) for value in (*foreign, "bsk_unknown")]
        if "client_id" in operation.parameters and "user_email" in fields:
            emails = (
                side.customer.email for side in (dataset.neighbour, *dataset.strangers.values())
            )
            wrong += [("user_email", value) for value in (*emails, "nobody@example.com")]
            sides = (dataset.neighbour, *dataset.strangers.values())
            own = (side.customer.external_user_id for side in sides)
            wrong += [("external_user_id", value) for value in (*own, "nobodys-id")]
        for name, value in wrong:
            body = {**good, name: value}
            if name == "template_basket_id":
                body.pop("template_id", None)
            if name == "external_user_id":
                body.pop("user_email", None)
            yield request(
                operation, dataset, f"{name} foreign", *UNKNOWN, body=json.dumps(body).encode()
            )


def order_of_checks(dataset: Dataset) -> Cases:
    """Requests with one mistake and all later ones: the earlier check answers.

    docs/api/conventions.md#the-order-of-checks is the contract.
    """
    for operation in operations():
        wrong = all_wrong(operation)
        yield request(operation, dataset, "size before type", 413, "payload_too_large", **wrong)
        wrong["body"] = JUNK
        yield request(
            operation, dataset, "type before query", 415, "unsupported_media_type", **wrong
        )
        late = {**all_wrong(operation, from_body=True), "query": UNKNOWN_QUERY}
        yield request(operation, dataset, "query before id", *INVALID, names="colour", **late)
        if operation.parameters:
            late = all_wrong(operation, from_body=True)
            yield request(operation, dataset, "id before body", *UNKNOWN, **late)
