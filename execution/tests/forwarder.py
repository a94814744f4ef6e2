"""A proxy on loopback in front of the tests' PostgreSQL: its links can fall silent, or stand still.

Silent is not broken: what is sent is still taken (and acknowledged by the kernel), and nothing
arrives, as behind a pooler that hangs or a NAT that has forgotten. What stands still arrives when
it goes on, as with a database whose machine was frozen.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from django.db import connection


class Forwarder:
    """Forwards every connection to the database of Django's default connection."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._target = dict(connection.settings_dict)
        self._silent: set[int] = set()
        self._links: list[tuple[socket.socket, socket.socket]] = []
        self._guard = threading.Lock()
        self._moving = threading.Event()
        self._moving.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def settings(self) -> dict[str, Any]:
        """What in ``connection.settings_dict`` leads through here."""
        options = {**self._target["OPTIONS"], "sslmode": "disable"}
        return {"HOST": "127.0.0.1", "PORT": str(self.port), "OPTIONS": options}

    def silence(self) -> int:
        """All links that there are now say nothing more; how many. New ones are as ever."""
        with self._guard:
            fresh = {id(near) for near, _ in self._links} - self._silent
            self._silent |= fresh
            return len(fresh)

    def stand_still(self) -> None:
        """Nothing arrives on any link, old or new, until :meth:`go_on`."""
        self._moving.clear()

    def go_on(self) -> None:
        """What was held back arrives."""
        self._moving.set()

    def close(self) -> None:
        """End everything."""
        self.go_on()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._guard:
            for pair in self._links:
                for end in pair:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                    end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = self._connect()
            with self._guard:
                self._links.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(
                    target=self._carry, args=(id(near), source, sink), daemon=True
                ).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._target["HOST"]), str(self._target["PORT"] or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        far = socket.socket(socket.AF_UNIX)
        far.connect(f"{host}/.s.PGSQL.{port}")
        return far

    def _carry(self, link: int, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                with self._guard:
                    if link in self._silent:
                        continue  # taken, and never heard of again
                self._moving.wait()
                sink.sendall(data)
            if link not in self._silent:
                sink.shutdown(socket.SHUT_WR)
