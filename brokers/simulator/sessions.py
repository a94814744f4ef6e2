"""Apps, logins and access tokens of the simulated brokers.

Every api key K exists, its secret is ``secret-K``, and any client with any password may log in. A
wrong checksum is refused, as at the real brokers.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from quantleap.core.clock import IST

ZERODHA: Final = "zerodha"
ZEBU: Final = "zebu"
BROKERS: Final = (ZERODHA, ZEBU)
EXPIRY_WALL: Final = {ZERODHA: dt.time(6, 0), ZEBU: dt.time(5, 0)}
CODE_LIFETIME: Final = dt.timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Code:
    """A login's one-time code, waiting for the exchange."""

    broker: str
    api_key: str
    client_id: str
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Login:
    """One live access token."""

    broker: str
    api_key: str
    client_id: str
    token: str
    created_at: dt.datetime
    expires_at: dt.datetime


def secret_of(api_key: str) -> str:
    """The app secret of an api key in this simulator."""
    return f"secret-{api_key}"


def with_query(url: str, extra: dict[str, str]) -> str:
    """``url`` with more query parameters, its own kept."""
    parts = urlsplit(url)
    query = urlencode(parse_qsl(parts.query, keep_blank_values=True) + list(extra.items()))
    return urlunsplit(parts._replace(query=query))


class Sessions:
    """Who is logged in where. Tokens expire in the morning like the real ones."""

    def __init__(self, default_redirect: str) -> None:
        self.default_redirect = default_redirect
        self._redirects: dict[tuple[str, str], str] = {}
        self._codes: dict[str, _Code] = {}
        self._logins: dict[str, Login] = {}
        self._current: dict[tuple[str, str, str], str] = {}
        self._dead: dict[str, str] = {}

    def set_redirect(self, broker: str, api_key: str, url: str) -> None:
        """Register the app's redirect address."""
        self._redirects[(broker, api_key)] = url

    def redirect_of(self, broker: str, api_key: str) -> str:
        """The app's redirect address, or the default one."""
        return self._redirects.get((broker, api_key), self.default_redirect)

    def grant_code(self, broker: str, api_key: str, client_id: str, now: dt.datetime) -> str:
        """A one-time code for a client who has just entered their password."""
        code = secrets.token_urlsafe(24).replace("-", "x").replace("_", "y")
        self._codes[code] = _Code(broker, api_key, client_id, now + CODE_LIFETIME)
        return code

    def exchange(
        self, broker: str, code: str, checksum: str, now: dt.datetime, api_key: str | None = None
    ) -> Login | str:
        """Exchange a code for a token. Returns the login, or ``code`` / ``checksum`` if that part
        is wrong. The code is used up either way."""
        pending = self._codes.pop(code, None)
        if pending is None or pending.broker != broker or pending.expires_at < now:
            return "code"
        if api_key is not None and api_key != pending.api_key:
            return "code"
        text = pending.api_key + secret_of(pending.api_key) + code
        if broker == ZERODHA:
            text = pending.api_key + code + secret_of(pending.api_key)
        expected = hashlib.sha256(text.encode()).hexdigest()
        if not hmac.compare_digest(expected, checksum.lower().encode("ascii", "replace").decode()):
            return "checksum"
        return self.open(broker, pending.api_key, pending.client_id, now)

    def open(self, broker: str, api_key: str, client_id: str, now: dt.datetime) -> Login:
        """Start a session; at Zerodha this ends the app's earlier session of this client."""
        login = Login(
            broker=broker,
            api_key=api_key,
            client_id=client_id,
            token=secrets.token_hex(16),
            created_at=now,
            expires_at=_next(EXPIRY_WALL[broker], now),
        )
        key = (broker, api_key, client_id)
        if broker == ZERODHA and key in self._current:
            self.revoke(self._current[key])
        self._current[key] = login.token
        self._logins[login.token] = login
        return login

    def check(self, broker: str, token: str, now: dt.datetime) -> Login | None:
        """The live session of a token, or None."""
        login = self._logins.get(token)
        if login is None or login.broker != broker:
            return None
        if login.expires_at <= now:
            self.revoke(token)
            return None
        return login

    def revoke(self, token: str) -> bool:
        """End a session; true if it was alive."""
        login = self._logins.pop(token, None)
        if login is None:
            return False
        self._dead[token] = login.client_id
        return True

    def revoke_client(self, broker: str, client_id: str) -> int:
        """End every session of a client at a broker; returns how many there were."""
        tokens = [
            login.token
            for login in self._logins.values()
            if (login.broker, login.client_id) == (broker, client_id)
        ]
        return sum(self.revoke(token) for token in tokens)

    def owner_of_dead(self, token: str) -> str:
        """The client of an expired token, for the control port's list of refusals."""
        return self._dead.get(token, "")

    def clear(self) -> None:
        """Forget every login and code; redirects stay."""
        self._codes.clear()
        self._logins.clear()
        self._current.clear()
        self._dead.clear()

    def __len__(self) -> int:
        return len(self._logins)


def _next(wall: dt.time, now: dt.datetime) -> dt.datetime:
    """The next time after ``now`` at which the Indian wall clock shows ``wall``."""
    local = now.astimezone(IST)
    at = dt.datetime.combine(local.date(), wall, IST)
    if at <= local:
        at += dt.timedelta(days=1)
    return at.astimezone(dt.UTC)
