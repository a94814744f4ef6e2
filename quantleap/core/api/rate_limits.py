"""Who is charged for a request of the API, and what the answer says of it (docs/api/limits.md).

:meth:`quantleap.core.api.viewsets.ApiViewSet.initial` charges, after authentication and before
everything else. :mod:`quantleap.core.rate_limits` counts.
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Final, Protocol

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

from quantleap.core import clock
from quantleap.core.api.principal import CustomerPrincipal, PartnerPrincipal, Principal
from quantleap.core.client_ip import caller_address
from quantleap.core.errors import RateLimited
from quantleap.core.ip_addresses import Address
from quantleap.core.ports import Port
from quantleap.core.rate_limits.buckets import Bucket, Charge, DayQuota, Decision, Standing
from quantleap.core.rate_limits.limiter import limiter


class LimitClass(enum.StrEnum):
    """The class of an action; each has a bucket of its own for each key."""

    BROWSE = "browse"
    """Reads of the marketplace."""
    SUBSCRIBE = "subscribe"
    """New subscriptions."""
    MANAGE = "manage"
    """Everything else."""
    LOGIN = "login"
    """Broker logins and user tokens: all of a partner's customers need them before the open."""


#: Requests a minute: the least for a key's logins, and for one customer's.
LEAST_LOGINS: Final = 60
LEAST_LOGINS_OF_ONE: Final = 10
#: In this many minutes before the open, every connected account can log in, with two requests.
_LOGIN_MINUTES: Final = 45
_REQUESTS_PER_LOGIN: Final = 2
#: Seconds for which the number of a partner's accounts is not counted again.
_ACCOUNTS_FOR: Final = 60.0
_MOST_PER_MINUTE: Final = 100_000

HEADERS: Final = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
)
#: Where a request keeps the headers of its answer, whatever becomes of it.
_ATTRIBUTE: Final = "rate_limit_headers"


class ConnectedAccounts(Protocol):
    """The number of a partner's connected broker accounts."""

    def __call__(self, partner_id: int, environment: str) -> int:
        """How many there are in this environment (1 query)."""
        ...


def _none(partner_id: int, environment: str) -> int:
    """Default until brokers registers: none."""
    del partner_id, environment
    return 0


CONNECTED_ACCOUNTS: Final[Port[ConnectedAccounts]] = Port("core.connected_accounts", _none)


# -- what a request is charged to -----------------------------------------------------------------
def charge_of(
    caller: Principal | None, address: Address | None, of: LimitClass, customer: str = ""
) -> Charge:
    """What a caller's request is charged to. ``customer`` is the name that its path gives a
    partner's customer, or their account."""
    if isinstance(caller, PartnerPrincipal):
        return _of_key(caller, of, customer)
    if isinstance(caller, CustomerPrincipal):
        return _of_customer(caller, of)
    return _of_address(address)


def _of_key(key: PartnerPrincipal, of: LimitClass, customer: str) -> Charge:
    if of is not LimitClass.LOGIN:
        per_minute = key.limits.overrides.get(of, key.limits.per_minute)
        day = DayQuota("all", key.limits.per_day)
        return Charge(key.key_public_id, (Bucket(of, of, per_minute),), day)
    buckets: tuple[Bucket, ...] = (Bucket(of, of, _logins(key)),)
    if customer:
        buckets = (*buckets, _one_login(key, customer))
    return Charge(key.key_public_id, buckets)


def _of_customer(customer: CustomerPrincipal, of: LimitClass) -> Charge:
    """A customer draws on nothing of the partner's: nobody can use up what others need."""
    buckets: tuple[Bucket, ...] = (Bucket("customer", "all", customer.limits.per_minute),)
    if of is LimitClass.LOGIN:
        per_minute = _logins_of_one(customer.limits.per_minute)
        buckets = (*buckets, Bucket("login-customer", "login", per_minute))
    return Charge(customer.customer_public_id, buckets)


def _of_address(address: Address | None) -> Charge:
    per_minute = settings.QUANTLEAP_ANONYMOUS_PER_MINUTE
    return Charge(f"address:{_network(address)}", (Bucket("address", "all", per_minute),))


def _network(address: Address | None) -> str:
    """An IPv4 address; of IPv6 the /64, because that is what one caller has."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address or "unknown")


def _one_login(key: PartnerPrincipal, customer: str) -> Bucket:
    """The small bucket of one customer; a hash, because the name is whatever the caller wrote."""
    digest = hashlib.sha256(customer.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return Bucket("login-customer", f"login:{digest}", _logins_of_one(key.limits.per_minute))


def _logins_of_one(per_minute: int) -> int:
    return max(LEAST_LOGINS_OF_ONE, per_minute // 6)


def _logins(key: PartnerPrincipal) -> int:
    fixed = key.limits.overrides.get(LimitClass.LOGIN)
    if fixed is not None:
        return fixed
    accounts = _ACCOUNTS.count(key.partner_id, key.environment)
    needed = -(-_REQUESTS_PER_LOGIN * accounts // _LOGIN_MINUTES)
    return min(max(LEAST_LOGINS, key.limits.per_minute, needed), _MOST_PER_MINUTE)


class AccountCounts:
    """The numbers of connected accounts, counted once a minute in each process."""

    def __init__(self) -> None:
        self._counted: dict[tuple[int, str], tuple[float, int]] = {}

    def count(self, partner_id: int, environment: str) -> int:
        """The number, at most a minute old."""
        now = clock.monotonic()
        at, number = self._counted.get((partner_id, environment), (-_ACCOUNTS_FOR, 0))
        if now - at >= _ACCOUNTS_FOR:
            number = CONNECTED_ACCOUNTS.get()(partner_id, environment)
            self._counted[partner_id, environment] = (now, number)
        return number

    def forget(self) -> None:
        """Count anew at the next request."""
        self._counted.clear()


_ACCOUNTS: Final = AccountCounts()


# -- charging, and what the answer says ------------------------------------------------------------
def charge_request(
    request: Request, caller: Principal | None, of: LimitClass, customer: str = ""
) -> None:
    """Charge a request to its caller's buckets, and keep the headers for its answer. RateLimited
    (429) charges nothing."""
    _decide(request, charge_of(caller, caller_address(request), of, customer))


def charge_customer(request: Request, key: PartnerPrincipal, customer: str) -> None:
    """Charge the small login bucket of a customer whom only the body names. RateLimited (429)."""
    _decide(request, Charge(key.key_public_id, (_one_login(key, customer),)), second=True)


def _decide(request: Request, charge: Charge, *, second: bool = False) -> None:
    decision = limiter().charge(charge)
    if not second or not decision.allowed:
        setattr(request._request, _ATTRIBUTE, headers_of(decision))
    if not decision.allowed:
        words = decision.binding.words
        raise RateLimited(f"Rate limit exceeded: {words}", retry_after=decision.retry_after)


def headers_of(decision: Decision) -> dict[str, str]:
    """X-RateLimit-… of the limit that refused, or else of the class; RateLimit of all of them
    (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/)."""
    binding = decision.binding
    return {
        "X-RateLimit-Limit": str(binding.limit),
        "X-RateLimit-Remaining": str(_left(binding)),
        "X-RateLimit-Reset": str(decision.at + binding.reset),
        "RateLimit": ", ".join(
            f'"{item.policy}";r={_left(item)};t={item.reset}' for item in decision.standings
        ),
        "RateLimit-Policy": ", ".join(
            f'"{item.policy}";q={item.limit};w={item.window}' for item in decision.standings
        ),
    }


def _left(standing: Standing) -> int:
    return 0 if standing.wait else standing.remaining


def kept_headers(request: HttpRequest) -> Mapping[str, str]:
    """The headers for the answer to a request; none if it was charged to nobody."""
    headers: Mapping[str, str] = getattr(request, _ATTRIBUTE, {})
    return headers
