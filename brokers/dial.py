"""Opens connections for ``requests``: all addresses of a host, within one time-out in total.

urllib3 tries one address after another and gives each the whole time-out, so a dead AAAA record
costs every call five seconds. Here the next address is tried in parallel if one has not answered
for a quarter of a second (RFC 8305 section 5); a source address determines the family.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import selectors
import socket
from collections.abc import Iterable
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from quantleap.core import clock

#: Seconds after which the next address is tried in addition to those that have not answered.
NEXT_ADDRESS: Final = 0.25
Info = tuple[Any, Any, int, str, Any]


def family_of(source: str) -> socket.AddressFamily:
    """The only address family that can leave from ``source``; any family if ``source`` is empty."""
    if not source:
        return socket.AF_UNSPEC
    return socket.AF_INET if ipaddress.ip_address(source).version == 4 else socket.AF_INET6


def dial(host: str, port: int, *, timeout: float, source: str = "") -> socket.socket:
    """A connected socket to the first address of ``host`` that answers.

    TimeoutError if none has within ``timeout`` seconds, OSError (of the last failure) if all fail;
    socket.gaierror if there is no such host.
    """
    infos = socket.getaddrinfo(host, port, family=family_of(source), type=socket.SOCK_STREAM)
    deadline = clock.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        try:
            connection = _race(selector, _interleaved(infos), deadline, source)
        finally:
            for key in list(selector.get_map().values()):
                selector.unregister(key.fileobj)
                key.data.close()
    connection.settimeout(timeout)
    return connection


def _interleaved(infos: Iterable[Info]) -> list[Info]:
    """The families in turn, beginning with the resolver's choice."""
    by_family: dict[int, list[Info]] = {}
    for info in infos:
        by_family.setdefault(info[0], []).append(info)
    places = [
        (place, n, info)
        for n, rows in enumerate(by_family.values())
        for place, info in enumerate(rows)
    ]
    return [info for _, _, info in sorted(places, key=lambda row: row[:2])]


def _race(
    selector: selectors.BaseSelector, infos: list[Info], deadline: float, source: str
) -> socket.socket:
    problem: OSError = OSError(errno.EADDRNOTAVAIL, "the host has no address")
    waiting = list(infos)
    while waiting or selector.get_map():
        if waiting:
            try:
                begun = _begun(waiting.pop(0), source)
                selector.register(begun, selectors.EVENT_WRITE, data=begun)
            except OSError as error:
                problem = error
                continue
        left = deadline - clock.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        for key, _ in selector.select(min(left, NEXT_ADDRESS) if waiting else left):
            tried: socket.socket = key.data
            selector.unregister(tried)
            failed = tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not failed:
                return tried
            tried.close()
            problem = OSError(failed, os.strerror(failed))
    raise problem


def _begun(info: Info, source: str) -> socket.socket:
    family, kind, proto, _, address = info
    begun = socket.socket(family, kind, proto)
    try:
        begun.setblocking(False)
        begun.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            begun.bind((source, 0))
        code = begun.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except BaseException:
        begun.close()
        raise
    return begun


# -- for urllib3 -----------------------------------------------------------------------------------
class _Dialled(HTTPConnection):
    """Connects by :func:`dial`, and raises the errors that requests understands."""

    def _new_conn(self) -> socket.socket:
        timeout = self.timeout if isinstance(self.timeout, (int, float)) else 60.0
        source = self.source_address[0] if self.source_address else ""
        try:
            return dial(
                self._dns_host, self.port or self.default_port, timeout=timeout, source=source
            )
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection within {timeout:g} s") from error
        except OSError as error:
            raise NewConnectionError(self, f"no connection: {error}") from error


class _DialledTls(_Dialled, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Dialled


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _DialledTls


POOLS: Final = {"http": _Pool, "https": _TlsPool}
