"""Why production refuses to start, determined from the settings alone, one sentence per problem.

Nothing here needs Django's applications or a database, so a refused start is refused at once. Every
sentence begins with the name of the setting to change.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from quantleap.core import clock
from quantleap.core.crypto import KeyRingError, parse_key_ring
from quantleap.core.ip_addresses import UNIX_SOCKET, Network, parse_network

_BUILD: Final = "build"
# A profile with any other name counts as production, so that a copy cannot get round the checks.
_LENIENT: Final = frozenset({"local", "test", _BUILD})
# The package of the demo's deliberate faults (docs/adr/0058).
_FAULTS: Final = "quantleap.faults."

# OWASP's password storage cheat sheet asks for a work factor of at least 10. Partners' secrets are
# hashed here; they are verified once and then cached, so a higher factor costs nothing.
MIN_BCRYPT_ROUNDS: Final = 12
MAX_BCRYPT_ROUNDS: Final = 16  # seconds per verification, and each one holds a thread
MIN_SECRET_KEY: Final = 50
MIN_DISTINCT: Final = 8  # characters of a secret key, bytes of an encryption key

# The widest network of proxies in real use: a whole private network, or what a large content
# network announces (104.16.0.0/12 and 2606:4700::/32).
_WIDEST: Final = {(4, True): 8, (4, False): 12, (6, True): 7, (6, False): 28}


def refusals(settings: Any, environ: Mapping[str, str]) -> list[str]:
    """Why a process may not start with ``settings``, as sentences; empty if it may.

    ``environ`` is the process's environment, for variables that production does not even read.
    """
    problems = list(_anywhere(settings))
    if is_production(settings):
        for judge in _JUDGES:
            problems += judge(settings, environ)
    return problems


def is_production(settings: Any) -> bool:
    """Whether these settings are for real money: every profile that is not known to be something
    else."""
    return settings.QUANTLEAP_PROFILE not in _LENIENT


def is_build(settings: Any) -> bool:
    """Whether these settings only build images and serve nobody."""
    return bool(settings.QUANTLEAP_PROFILE == _BUILD)


def _anywhere(settings: Any) -> Iterator[str]:
    if settings.TIME_ZONE != "UTC" or not settings.USE_TZ:
        yield "TIME_ZONE must be UTC and USE_TZ on: the tables hold UTC."
    try:
        parse_key_ring(settings.QUANTLEAP_ENCRYPTION_KEYS)
    except KeyRingError as error:
        yield f"QUANTLEAP_ENCRYPTION_KEYS is no key ring: {error}."
    if not is_production(settings) and settings.QUANTLEAP_LIVE_BROKERS:
        if moved := clock.moved_by():
            yield f"{moved} moves the clock: not with a live broker. Unset it."
        if getattr(settings, "QUANTLEAP_FAULT", ""):
            yield "QUANTLEAP_FAULT breaks things on purpose: not with a live broker. Unset it."


def _demo(settings: Any, environ: Mapping[str, str]) -> Iterator[str]:
    """Settings that only a demo, a test or a developer's machine may have."""
    if moved := clock.moved_by():
        yield f"{moved} moves the clock; production trades by the real one. Unset it."
    for name in ("QUANTLEAP_FAULT", "QUANTLEAP_SIMULATOR_URL"):
        if environ.get(name) or getattr(settings, name, ""):
            yield f"{name} is set; it is for demos and tests, production refuses it. Unset it."
    for app in settings.INSTALLED_APPS:
        if f"{app}.".startswith(_FAULTS):
            yield f"INSTALLED_APPS holds {app!r}, which breaks things on purpose. Leave it out."
    if settings.DEBUG:
        yield "DEBUG is on; its pages show settings and source to whoever causes an error."
    if getattr(settings, "CELERY_TASK_ALWAYS_EAGER", False):
        yield "CELERY_TASK_ALWAYS_EAGER is on; orders would leave from the web process."


def _keys(settings: Any, _environ: Mapping[str, str]) -> Iterator[str]:
    key = settings.SECRET_KEY
    if len(key) < MIN_SECRET_KEY or len(set(key)) < MIN_DISTINCT:
        yield (
            f"DJANGO_SECRET_KEY is too weak: it needs {MIN_SECRET_KEY} random characters or more "
            "(python -c 'import secrets; print(secrets.token_urlsafe(64))')."
        )
    try:
        ring = parse_key_ring(settings.QUANTLEAP_ENCRYPTION_KEYS)
    except KeyRingError:
        return  # reported already
    for key_id, raw in ring.keys.items():
        if len(set(raw)) < MIN_DISTINCT:
            yield f"QUANTLEAP_ENCRYPTION_KEYS: the key {key_id!r} is not random."
    rounds = settings.QUANTLEAP_BCRYPT_ROUNDS
    if not MIN_BCRYPT_ROUNDS <= rounds <= MAX_BCRYPT_ROUNDS:
        yield (
            f"QUANTLEAP_BCRYPT_ROUNDS is {rounds}; partners' secrets need "
            f"{MIN_BCRYPT_ROUNDS} to {MAX_BCRYPT_ROUNDS}."
        )


def _hosts(settings: Any, _environ: Mapping[str, str]) -> Iterator[str]:
    if not settings.ALLOWED_HOSTS:
        yield "ALLOWED_HOSTS is empty: nothing would be served. List the console's host names."
    for host in settings.ALLOWED_HOSTS:
        # ".example.com" is Django's spelling for a domain with everything below it
        if "*" in host or (host.startswith(".") and host.count(".") < 2):
            yield (
                f"ALLOWED_HOSTS holds {host!r}, which admits names that are not ours. "
                "List the console's and the API's host names."
            )
    for origin in getattr(settings, "CSRF_TRUSTED_ORIGINS", []):
        if not origin.startswith("https://") or "*" in origin:
            yield f"CSRF_TRUSTED_ORIGINS holds {origin!r}; it must be https:// and one host."
    if not _is_https(settings.QUANTLEAP_PUBLIC_URL):
        yield "QUANTLEAP_PUBLIC_URL is not an https:// address: links in mails would begin with it."


def _proxies(settings: Any, _environ: Mapping[str, str]) -> Iterator[str]:
    name = "QUANTLEAP_TRUSTED_PROXIES"
    if settings.QUANTLEAP_TRUSTED_HOPS < 1:
        yield "QUANTLEAP_TRUSTED_HOPS must be 1 or more: our own proxy is the first hop."
    networks: list[Network] = []
    for text in settings.QUANTLEAP_TRUSTED_PROXIES:
        if text == UNIX_SOCKET:
            continue
        try:
            network = parse_network(text)
        except ValueError:
            yield f"{name} holds {text!r}, which is neither an address nor a network."
            continue
        if network.prefixlen < _WIDEST[network.version, network.is_private]:
            yield (
                f"{name} holds {text!r}, so strangers could choose their own address. "
                "List the addresses of the proxies themselves."
            )
        else:
            networks.append(network)
    if _is_wide(networks):
        yield f"{name} trusts too much of the internet; list the proxies themselves."


def _is_wide(networks: Iterable[Network]) -> bool:
    """Whether networks that are each acceptable are too much together."""
    public = [network for network in networks if not network.is_private]
    four = [network for network in public if isinstance(network, ipaddress.IPv4Network)]
    six = [network for network in public if isinstance(network, ipaddress.IPv6Network)]
    return (
        sum(network.num_addresses for network in ipaddress.collapse_addresses(four)) > 2**22
        or sum(network.num_addresses for network in ipaddress.collapse_addresses(six)) > 2**102
    )


# A broker's addresses that are environment variables; the others are in the settings.
_FROM_ENVIRONMENT: Final = frozenset({"api", "login"})


def _brokers(settings: Any, _environ: Mapping[str, str]) -> Iterator[str]:
    for kind, addresses in settings.QUANTLEAP_BROKERS.items():
        for what, address in addresses.items():
            if not _is_https(address):
                name = f"QUANTLEAP_{kind.upper()}_{what.upper()}"
                if what not in _FROM_ENVIRONMENT:
                    name = f"QUANTLEAP_BROKERS[{kind!r}][{what!r}]"
                yield (
                    f"{name} is not an https:// address: orders and logins would be readable on "
                    "the way."
                )


def _is_https(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    del port  # reading it is the check
    return parts.scheme == "https" and bool(host) and parts.username is None


def _cache(settings: Any, _environ: Mapping[str, str]) -> Iterator[str]:
    """A process that reaches the task queue can run any task, so it needs a password, or TLS with
    one."""
    parts = urlsplit(settings.REDIS_URL)
    if parts.scheme == "redis" and not parts.password:
        yield "REDIS_URL has no password: redis://:password@host:6379/0, or a unix socket."


def _roles(settings: Any, environ: Mapping[str, str]) -> Iterator[str]:
    """Recognise one role for both without asking the database; the first connection checks the
    rest."""
    named = environ.get("OWNER_DATABASE_URL") or environ.get("OWNER_DATABASE_URL_FILE")
    owner = settings.QUANTLEAP_OWNER_DATABASE["USER"]
    if named and owner == settings.DATABASES["default"]["USER"]:
        yield (
            f"DATABASE_URL names the role {owner!r}, which OWNER_DATABASE_URL says is the owner. "
            "Name the application role."
        )


_JUDGES: Final[Sequence[Callable[[Any, Mapping[str, str]], Iterable[str]]]] = (
    _demo,
    _keys,
    _hosts,
    _proxies,
    _brokers,
    _cache,
    _roles,
)
