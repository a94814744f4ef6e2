"""The TLS setting of every call to a broker: own sockets, ``requests`` and aiohttp alike.

It uses the operating system's trust store, or the one named by ``SSL_CERT_FILE`` or
``SSL_CERT_DIR`` (https://docs.openssl.org/3.0/man3/SSL_CTX_load_verify_locations/), or ``certifi``
if the system has none. Host names are checked. Sessions are resumed: a thousand accounts connect
twice each, and the broker need not send its certificate chain every time.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Iterable, Iterator
from typing import Final

import certifi


def context() -> ssl.SSLContext:
    """The context of this process; recreated only if the environment variables have changed."""
    paths = ssl.get_default_verify_paths()
    return _context(
        os.environ.get(paths.openssl_cafile_env), os.environ.get(paths.openssl_capath_env)
    )


@functools.lru_cache(maxsize=4)
def _context(cafile: str | None, capath: str | None) -> ssl.SSLContext:
    # Creating one reads some hundred certificates: 20 ms. OpenSSL reads the two variables itself;
    # here they are the cache's key.
    del cafile, capath
    ssl_context = ssl.create_default_context()
    if not _has_bundle():
        ssl_context.load_verify_locations(certifi.where())
    return ssl_context


def _has_bundle() -> bool:
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and os.listdir(paths.capath)))


# -- error texts -----------------------------------------------------------------------------------
def fault(error: BaseException) -> str:
    """What TLS found wrong, as text that a person can act upon; '' if ``error`` is not about TLS.

    Looks behind the wrappers of requests, urllib3 and aiohttp. It contains no secret: OpenSSL
    mentions certificates and protocols only.
    """
    tls_errors = [cause for cause in _behind(error) if isinstance(cause, ssl.SSLError)]
    if not tls_errors:
        return ""
    # aiohttp's wrappers are SSL errors by inheritance only and have no text of their own.
    if said := _first_text(tls_errors, "verify_message"):
        return f"the broker's certificate is not accepted: {said}{_hint()}"
    reason = _first_text(tls_errors, "reason") or "no reason given"
    return f"TLS failed: {reason.replace('_', ' ').lower()}"


def _first_text(errors: Iterable[BaseException], name: str) -> str:
    texts = (getattr(error, name, "") for error in errors)
    return next((text for text in texts if isinstance(text, str) and text), "")


def _hint() -> str:
    """A hint if the environment names a file that does not exist."""
    paths = ssl.get_default_verify_paths()
    named = os.environ.get(paths.openssl_cafile_env)
    if named and not os.path.isfile(named):
        return f" ({paths.openssl_cafile_env} names no file)"
    return ""


def _behind(error: BaseException) -> Iterator[BaseException]:
    """``error`` and everything it was raised from, wraps or carries, nearest first."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < 32:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        linked = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
        waiting.extend(link for link in linked if isinstance(link, BaseException))


# -- resumption ------------------------------------------------------------------------------------
class Sessions:
    """The newest resumable session of each server, shared by connections of all accounts.

    A session contains nothing of an account, because the login happens inside, in HTTP.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[ssl.SSLContext, ssl.SSLSession]] = {}

    def of(self, host: str, port: int, made_for: ssl.SSLContext) -> ssl.SSLSession | None:
        """The session to resume, if there is one for this context."""
        entry = self._kept.get((host, port))
        return entry[1] if entry is not None and entry[0] is made_for else None

    def keep(self, host: str, port: int, wrapped: ssl.SSLSocket) -> bool:
        """Store the session of an open connection; False while it has none that can be resumed.

        TLS 1.3 sends tickets after the handshake: call again once something has been read.
        """
        session = wrapped.session
        if session is None or not (session.has_ticket or wrapped.version() != "TLSv1.3"):
            return False
        self._kept[(host, port)] = (wrapped.context, session)
        return True


SESSIONS: Final = Sessions()
