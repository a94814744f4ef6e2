"""Feed accounts of an installation with simulated brokers, and their daily login.

A person logs real feed accounts in, because a broker's login needs a person's second factor. The
simulator accepts anybody, so that an installation on a developer's machine needs nobody at six in
the morning. Nothing here acts in production, or on an address other than this machine's own.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from django.conf import settings

from brokers.base import HttpRequest
from brokers.endpoints import endpoints, is_loopback
from brokers.errors import BrokerRejected, BrokerUnavailable
from brokers.models import FeedAccount
from brokers.services.feeds import complete_feed_login, feed_login_url, save_feed_account
from brokers.transport_sync import TransportError, send
from quantleap.core.audit import SYSTEM
from quantleap.core.production_checks import is_production

# Name, broker, client id, role.
SEEDED: Final = (
    ("Simulated quotes", "zerodha", "FEED01", FeedAccount.Role.PRIMARY),
    ("Simulated quotes, spare", "zebu", "FEED02", FeedAccount.Role.SPARE),
)
API_KEY: Final = "quotes"
# The simulator accepts every key, with this secret (docs/brokers/simulator.md).
API_SECRET: Final = f"secret-{API_KEY}"
FORM: Final = "application/x-www-form-urlencoded"


def is_simulated() -> bool:
    """Whether this installation's brokers are simulated. Never in production."""
    return bool(settings.QUANTLEAP_SIMULATOR_URL) and not is_production(settings)


def seed_feeds() -> int:
    """Create the simulator's feed accounts if there are none at all; returns how many were
    created."""
    if not is_simulated() or FeedAccount.objects.exists():
        return 0
    for name, broker, client_id, role in SEEDED:
        save_feed_account(
            name=name,
            broker=broker,
            role=role,
            client_id=client_id,
            api_key=API_KEY,
            api_secret=API_SECRET,
            actor=SYSTEM,
        )
    return len(SEEDED)


def logs_in_by_itself(feed: FeedAccount) -> bool:
    """Whether ``feed`` is one of the seeded accounts and its broker is on this machine."""
    seeded = {(name, broker, client_id) for name, broker, client_id, _ in SEEDED}
    return (
        is_simulated()
        and (feed.name, feed.broker, feed.client_id) in seeded
        and is_loopback(endpoints(feed.broker).login)
    )


def log_in(feed: FeedAccount, *, now: dt.datetime) -> FeedAccount:
    """Log in for the day through the simulator's login page, as a person would.

    BrokerUnavailable (503) while the simulator does not answer, BrokerRejected (422) if it refuses;
    ValueError for an account that a person has to log in.
    """
    if not logs_in_by_itself(feed):
        raise ValueError(f"{feed} is not one of the simulator's own feed accounts")
    url = urlsplit(feed_login_url(feed, state=secrets.token_urlsafe(8)))
    form = [*parse_qsl(url.query), ("user_id", feed.client_id), ("password", "any")]
    request = HttpRequest("POST", url.path, {"Content-Type": FORM}, urlencode(form).encode())
    try:
        answer = send(request, base_url=f"{url.scheme}://{url.netloc}")
    except TransportError as error:
        raise BrokerUnavailable(f"The simulator did not answer: {error.message}") from error
    query = parse_qs(urlsplit(answer.headers.get("location", "")).query)
    codes = query.get("request_token") or query.get("code")
    if not codes:
        message = f"The simulator's login page answered {answer.status} without a code"
        raise BrokerRejected(message, broker_response={"code": "no_code", "message": message})
    return complete_feed_login(feed=feed, code=codes[0], actor=SYSTEM, now=now)
