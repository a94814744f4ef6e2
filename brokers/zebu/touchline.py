"""Noren's websocket for prices: frames out, frames in. Pure.

A frame is a JSON text, all values strings. ``a`` logs in (answered ``ak``; ``c`` and ``ck`` in
older versions), ``t`` subscribes to touchlines (each answered by a complete ``tk``, then by ``tf``
with changes), ``u`` unsubscribes, ``h`` is the heartbeat. ``ft`` is the exchange's time in Unix
seconds. Source: https://github.com/Shoonya-Dev/ShoonyaApi-py (Websocket API); Zebu's and Alice
Blue's pages agree.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from brokers import wire_values
from brokers.base import BrokerInstrument, Session
from brokers.price_updates import LoggedIn, Name, Touchline

PATH: Final = "/NorenWSAPI/"
HEARTBEAT: Final = '{"t":"h"}'
#: Instruments of one subscription frame.
CHUNK: Final = 50
MAX_FRAME: Final = 64 * 1024
_EPOCH: Final = (1_000_000_000, 9_999_999_999)
_PRICES: Final = {"lp": "last", "bp1": "bid", "sp1": "ask"}


def login(session: Session) -> str:
    """The first frame."""
    return _frame(
        t="a",
        uid=session.client_id,
        actid=session.client_id,
        source="API",
        accesstoken=session.access_token,
    )


def subscribe(instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
    """Frames that subscribe to the touchlines of ``instruments``."""
    return _about("t", instruments)


def unsubscribe(instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
    """Frames that unsubscribe."""
    return _about("u", instruments)


def _about(kind: str, instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
    names = [f"{instrument.exchange}|{instrument.token}" for instrument in instruments]
    for start in range(0, len(names), CHUNK):
        yield _frame(t=kind, k="#".join(names[start : start + CHUNK]))


class NorenPrices:
    """Noren as a :class:`brokers.price_updates.PriceStream`. It states no instrument limit."""

    beat = HEARTBEAT
    most = 3000

    def path(self, session: Session) -> str:
        """The same path for everybody."""
        return PATH

    def hello(self, session: Session) -> str:
        """The login frame."""
        return login(session)

    def name(self, instrument: BrokerInstrument) -> Name:
        """Exchange and token."""
        return instrument.exchange, instrument.token

    def subscribe(self, instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
        """Frames that subscribe to touchlines."""
        return subscribe(instruments)

    def unsubscribe(self, instruments: Sequence[BrokerInstrument]) -> Iterator[str]:
        """Frames that unsubscribe."""
        return unsubscribe(instruments)

    def read(
        self, frame: str | bytes, known: Mapping[Name, Touchline]
    ) -> LoggedIn | Sequence[Touchline]:
        """The login's answer, or a touchline."""
        said = read(frame, known) if isinstance(frame, str) else None
        if isinstance(said, LoggedIn):
            return said
        return () if said is None else (said,)


def read(text: str, known: Mapping[Name, Touchline]) -> LoggedIn | Touchline | None:
    """The content of a frame; a change is merged into the touchline in ``known``. None: nothing for
    us."""
    answer = wire_values.read_object(text.encode("utf-8", "replace"), MAX_FRAME)
    if answer is None:
        return None
    kind = answer.get("t")
    if kind in ("ak", "ck"):
        ok = str(answer.get("s", "")).upper() == "OK"
        return LoggedIn(
            ok,
            wire_values.clean_text(answer.get("emsg")) or wire_values.clean_text(answer.get("s")),
        )
    if kind not in ("tk", "tf"):
        return None
    exchange, token = (
        wire_values.clean_text(answer.get("e"), 10),
        wire_values.clean_text(answer.get("tk"), 20),
    )
    before = known.get((exchange, token))
    if not exchange or not token or (kind == "tf" and before is None):
        return None  # a change of an incomplete touchline
    base = Touchline(exchange, token) if kind == "tk" or before is None else before
    values: dict[str, Any] = {
        name: wire_values.read_price(answer[field])
        for field, name in _PRICES.items()
        if field in answer and (name != "last" or wire_values.read_price(answer[field]) is not None)
    }
    at = _time(answer.get("ft")) or base.at
    return Touchline(
        exchange,
        token,
        last=values.get("last", base.last),
        bid=values.get("bid", base.bid),
        ask=values.get("ask", base.ask),
        at=at,
        traded_at=at if kind == "tf" and "last" in values else base.traded_at,
    )


def _time(value: object) -> dt.datetime | None:
    seconds = wire_values.read_int(value)
    if seconds is None or not _EPOCH[0] <= seconds <= _EPOCH[1]:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _frame(**fields: str) -> str:
    return json.dumps(fields, separators=(",", ":"))
