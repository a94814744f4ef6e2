"""Ports: how a lower room calls an upper room without importing it.

A lower room declares ``PORT: Port[Protocol] = Port("name", default)``; the upper room calls
``PORT.register(implementation)`` in its ``AppConfig.ready``. An explicit registry, no signals.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class PortNotRegistered(RuntimeError):
    """A port without a default was used before an upper room registered an implementation."""


class Port(Generic[T]):
    """A named slot for one implementation, with an optional harmless default."""

    def __init__(self, name: str, default: T | None = None) -> None:
        self.name = name
        self._default = default
        self._implementation: T | None = None

    def register(self, implementation: T) -> None:
        """Register the implementation. A second, different one is a programming error."""
        if self._implementation is not None and self._implementation is not implementation:
            raise RuntimeError(f"port {self.name} is already registered")
        self._implementation = implementation

    def get(self) -> T:
        """The registered implementation, or else the default; PortNotRegistered without either."""
        chosen = self._implementation if self._implementation is not None else self._default
        if chosen is None:
            raise PortNotRegistered(self.name)
        return chosen


class Handlers(Generic[T]):
    """A named list of handlers, for events that several upper rooms may handle."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._items: list[T] = []

    def register(self, item: T) -> None:
        """Add a handler once."""
        if item not in self._items:
            self._items.append(item)

    def all(self) -> tuple[T, ...]:
        """Every handler, in order of registration."""
        return tuple(self._items)
