"""HTTP server of the simulated brokers: exact arrival times, one call in, one answer out, faults
applied.

Handlers are plain functions from :class:`Call` to :class:`Answer`, called on the event loop.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web

from brokers.simulator.faults import Fault, Kind

KEEPALIVE_SECONDS: Final = 600.0
GATEWAY_PAGE: Final = (
    "<html>\r\n<head><title>{status} {words}</title></head>\r\n<body>\r\n"
    "<center><h1>{status} {words}</h1></center>\r\n<hr><center>cloudflare</center>\r\n"
    "</body>\r\n</html>\r\n"
)
FORM: Final = "application/x-www-form-urlencoded"
STATUS_WORDS: Final = {
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One complete request. ``headers`` is case-insensitive; ``received_at`` is the arrival of its
    first bytes."""

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    body: bytes
    received_at: dt.datetime

    def query(self) -> list[tuple[str, str]]:
        """Query parameters in order."""
        return parse_qsl(self.query_string, keep_blank_values=True)

    def form(self) -> dict[str, str]:
        """Form body and query parameters together; the body has priority. Any other body is
        ignored."""
        pairs = self.query()
        if self.headers.get("Content-Type", "").startswith(FORM):
            pairs += parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True)
        return dict(pairs)


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; ``fault`` spoils its delivery."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None


Handler = Callable[[Call], Answer]
#: Serves a connection that asked to become a websocket.
Upgrade = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class StampedHandler(web.RequestHandler):
    """Connection that remembers when the first bytes of the current request arrived."""

    __slots__ = ("_now", "arrived_at")

    def __init__(self, manager: StampedServer, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._now = manager.now
        self.arrived_at: dt.datetime | None = None

    def data_received(self, data: bytes) -> None:
        """Stamp, then parse."""
        if self.arrived_at is None:
            self.arrived_at = self._now()
        super().data_received(data)


class StampedServer(web.Server):
    """Protocol factory making :class:`StampedHandler` connections."""

    def __init__(
        self,
        handler: Handler,
        now: Callable[[], dt.datetime],
        streams: Mapping[str, Upgrade] | None = None,
    ) -> None:
        """``streams`` are websockets, by path."""
        self.handler = handler
        self.streams = streams or {}
        self.now = now
        super().__init__(self._serve, keepalive_timeout=KEEPALIVE_SECONDS, access_log=None)

    def __call__(self) -> web.RequestHandler:
        """A connection's protocol."""
        return StampedHandler(self, loop=self._loop, **self._kwargs)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        stream = self.streams.get(request.path)
        if stream is not None and request.headers.get("Upgrade", "").lower() == "websocket":
            return await stream(request)
        body = await request.read()
        protocol = request.protocol
        arrived_at = protocol.arrived_at if isinstance(protocol, StampedHandler) else None
        if isinstance(protocol, StampedHandler):
            protocol.arrived_at = None
        answer = self.handler(
            Call(
                method=request.method,
                path=request.path,
                query_string=request.rel_url.raw_query_string,
                headers=request.headers,
                body=body,
                received_at=arrived_at or self.now(),
            )
        )
        return await self.deliver(answer, request)

    async def deliver(self, answer: Answer, request: web.BaseRequest) -> web.StreamResponse:
        """Send the answer, or what a fault turns it into."""
        return await deliver(answer, request)


async def deliver(answer: Answer, request: web.BaseRequest) -> web.StreamResponse:
    """Send the answer, or what the fault turns it into."""
    fault = answer.fault
    if fault is None:
        return _response(answer)
    kind = fault.kind
    mode = fault.params.get("answer", "ok") if kind is Kind.HIDE else ""
    if kind is Kind.DELAY:
        await asyncio.sleep(fault.params["seconds"])
    elif kind in (Kind.DROP_AFTER_ACCEPT, Kind.REFUSE) or mode == "drop":
        request.protocol.force_close()
    elif kind is Kind.STATUS_AFTER_ACCEPT or mode == "status":
        return _response(gateway_page(int(fault.params.get("status", 504))))
    elif kind is Kind.HTML_502:
        return _response(gateway_page(502))
    elif kind is Kind.TRUNCATED_JSON:
        return _response(
            Answer(answer.status, answer.body[: len(answer.body) // 2], answer.content_type)
        )
    return _response(answer)


def gateway_page(status: int) -> Answer:
    """The HTML page of a proxy in front of the broker."""
    words = STATUS_WORDS.get(status, "Error")
    page = GATEWAY_PAGE.format(status=status, words=words)
    return Answer(status, page.encode(), "text/html")


def json_answer(
    value: object, status: int = 200, fault: Fault | None = None, **headers: str
) -> Answer:
    """An answer with a JSON body; ``Decimal`` becomes a JSON number."""
    return Answer(status, to_json(value), headers=headers, fault=fault)


def to_json(value: object) -> bytes:
    """Compact JSON bytes."""
    return json.dumps(value, separators=(",", ":"), default=_plain).encode()


def html_answer(text: str, status: int = 200) -> Answer:
    """An answer with an HTML page."""
    return Answer(status, text.encode(), "text/html; charset=utf-8")


def redirect(url: str) -> Answer:
    """302 to ``url``."""
    return Answer(302, b"", "text/html", {"Location": url})


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"not JSON: {value!r}")


def _response(answer: Answer) -> web.Response:
    headers = {"Content-Type": answer.content_type, "Server": "cloudflare", **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)
