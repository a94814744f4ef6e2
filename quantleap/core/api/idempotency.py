"""``Idempotency-Key`` on every POST (docs/api/conventions.md#idempotency).

:meth:`quantleap.core.api.viewsets.ApiViewSet.initial` applies it.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import transaction
from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response

from quantleap.core import clock
from quantleap.core import idempotency as records
from quantleap.core.api.parsers import NumberEncoder
from quantleap.core.api.principal import CustomerPrincipal, PartnerPrincipal
from quantleap.core.errors import DomainError, InvalidRequest
from quantleap.core.models import IdempotencyRecord

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_VERSION_PREFIX: Final = "/api/v1"
_POLL_SECONDS: Final = 0.1
# Refusals that count as a finished answer. Failed validation (400), credentials (401, 403), unknown
# objects (404) and limits (429) do not: the client may correct the request and reuse the key.
_KEPT_REFUSALS: Final = frozenset({409, 422})
# Exceptions that become an error envelope: they are raised on purpose and are not crashes.
_REFUSALS: Final = (DomainError, APIException, Http404, PermissionDenied, RequestDataTooBig)


class Idempotency(enum.Enum):
    """How a POST treats its ``Idempotency-Key``."""

    WITH_EFFECT = "with effect"
    """The POST runs in one transaction with its record. It must not call other systems."""
    OUTSIDE = "outside"
    """The POST calls a broker or gateway; after a crash no other request takes it over."""
    SHOWS_SECRET = "shows secret"  # noqa: S105  names a policy
    """Like WITH_EFFECT, but the answer is not stored: a replay is 409 ``secret_already_shown``."""


class _View(Protocol):
    def handle_exception(self, exc: Exception) -> Response: ...


Handler = Callable[..., Response]


def idempotent(view: _View, handler: Handler, policy: Idempotency) -> Handler:
    """Wrap ``handler``, a method of ``view``, so that it honours ``Idempotency-Key``.

    Without the header, or without a caller, the handler itself runs.
    """

    @functools.wraps(handler)
    def post(request: Request, *args: Any, **kwargs: Any) -> Response:
        claim = _claim(request)
        if claim is None:
            return handler(request, *args, **kwargs)
        run = functools.partial(handler, request, *args, **kwargs)
        if policy is Idempotency.OUTSIDE:
            return _run_outside(view, claim, run)
        return _run_with_effect(view, claim, run, policy)

    return post


def _claim(request: Request) -> records.Claim | None:
    key = request.headers.get(HEADER)
    caller: Any = request.auth
    if key is None or not isinstance(caller, PartnerPrincipal | CustomerPrincipal):
        return None
    if not _KEY.fullmatch(key):
        words = "1 to 255 printable ASCII characters without spaces."
        raise InvalidRequest(f"{HEADER}: {words}", details={HEADER: words})
    # A partner's key survives the rotation of API keys; a customer's key is their own.
    scope = caller.customer_public_id if isinstance(caller, CustomerPrincipal) else "partner"
    return records.Claim(caller.partner_id, caller.environment, scope, key, _fingerprint(request))


def _fingerprint(request: Request) -> str:
    """The request's method, path and body as a hash; both spellings of a route, with and without
    version, are equal."""
    path = request.get_full_path().removeprefix(_VERSION_PREFIX)
    head = f"{request.method} {path}\n".encode()
    return hashlib.sha256(head + request._request.body).hexdigest()


def _run_with_effect(
    view: _View, claim: records.Claim, run: Callable[[], Response], policy: Idempotency
) -> Response:
    now = clock.now()
    with transaction.atomic():
        record, ours = records.begin(claim, now=now)
        if not ours:
            return _replay(record)
        try:
            with transaction.atomic():
                response = run()
        except DomainError as error:
            if error.status not in _KEPT_REFUSALS:
                raise
            response = view.handle_exception(error)
        if response.status_code >= 500:
            transaction.set_rollback(True)
            return response
        hidden = policy is Idempotency.SHOWS_SECRET and response.status_code < 300
        body = None if hidden else _plain(response)
        records.complete(record, status_code=response.status_code, body=body, now=now)
    return response


def _run_outside(view: _View, claim: records.Claim, run: Callable[[], Response]) -> Response:
    with transaction.atomic():
        record, ours = records.begin(claim, now=clock.now())
    if not ours:
        return _replay(_wait_for(record))
    try:
        response = run()
    except _REFUSALS as error:
        if not (isinstance(error, DomainError) and error.status in _KEPT_REFUSALS):
            records.abandon(record)
            raise
        response = view.handle_exception(error)
    # Any other exception is a crash: the other side's outcome is unknown, so the key stays taken.
    if response.status_code < 500:
        body = _plain(response)
        records.complete(record, status_code=response.status_code, body=body, now=clock.now())
    return response


def _wait_for(record: IdempotencyRecord) -> IdempotencyRecord:
    """The record once it is finished, or its current state after 3 s."""
    until = clock.monotonic() + records.WAIT_SECONDS
    while record.state == IdempotencyRecord.State.RUNNING and clock.monotonic() < until:
        time.sleep(_POLL_SECONDS)
        current = IdempotencyRecord.objects.filter(pk=record.pk).first()
        if current is None:
            break
        record = current
    return record


def _replay(record: IdempotencyRecord) -> Response:
    status_code, body = records.finished_answer(record)
    return Response(body, status=status_code, headers={REPLAYED: "true"})


def _plain(response: Response) -> Any:
    return json.loads(json.dumps(response.data, cls=NumberEncoder))
