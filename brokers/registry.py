"""The adapter of each broker kind; modules are imported on first use."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from brokers.base import BrokerAdapter

#: Kind (as stored and as partners write ``broker_name``) -> dotted path of the adapter class.
ADAPTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "zerodha": "brokers.zerodha.adapter.ZerodhaAdapter",
        "zebu": "brokers.zebu.adapter.ZebuAdapter",
        "paper": "brokers.paper.adapter.PaperAdapter",
    }
)


class UnknownBroker(LookupError):
    """No adapter is registered for this kind."""


@functools.cache
def get_adapter(kind: str) -> BrokerAdapter:
    """The (stateless, shared) adapter of ``kind``; raises :class:`UnknownBroker`."""
    adapter: BrokerAdapter | None = speaker(ADAPTERS, kind)
    if adapter is None:
        raise UnknownBroker(kind)
    return adapter


def speaker(ways: Mapping[str, str], kind: str) -> Any:
    """An instance of the class whose dotted path ``ways`` has for ``kind``; None if it has none."""
    path = ways.get(kind)
    if path is None:
        return None
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)()


def live_kinds() -> tuple[str, ...]:
    """Kinds that are real brokers, in the order in which they are offered."""
    return tuple(kind for kind in ADAPTERS if kind != "paper")
