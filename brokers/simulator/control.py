"""The control port: faults, market moves, funds, apps, and the book for checks.

JSON in, JSON out; docs/brokers/simulator.md describes every call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from brokers.simulator.book import Order
from brokers.simulator.contracts import UNDERLYINGS
from brokers.simulator.exchange import LOGIN_MANNERS, UPDATE_MANNERS, Exchange, Manner
from brokers.simulator.faults import FaultError
from brokers.simulator.sessions import BROKERS
from brokers.simulator.wire import Answer, Call, json_answer


class ControlError(ValueError):
    """A control request that cannot be carried out, with the reason."""


class ControlWire:
    """Answers every request of the control port."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._routes: dict[tuple[str, str], Callable[[Mapping[str, Any]], object]] = {
            ("GET", "/health"): self._health,
            ("GET", "/book"): self._book,
            ("GET", "/positions"): self._positions,
            ("GET", "/faults"): self._list_faults,
            ("POST", "/faults"): self._arm_fault,
            ("DELETE", "/faults"): self._clear_faults,
            ("GET", "/market"): self._market,
            ("POST", "/market"): self._move_market,
            ("POST", "/apps"): self._app,
            ("POST", "/sessions"): self._session,
            ("DELETE", "/sessions"): self._end_session,
            ("POST", "/funds"): self._funds,
            ("GET", "/manner"): self._manner,
            ("POST", "/manner"): self._set_manner,
            ("GET", "/limits"): self._limits,
            ("POST", "/limits"): self._limits,
            ("GET", "/calls"): self._calls,
            ("POST", "/calls"): self._calls,
            ("POST", "/reset"): self._reset,
        }

    def __call__(self, call: Call) -> Answer:
        """One request in, one answer out."""
        route = self._routes.get((call.method, call.path))
        if route is None:
            return json_answer({"error": f"no such call: {call.method} {call.path}"}, 404)
        try:
            arguments = dict(call.query()) if not call.body else json.loads(call.body)
            if not isinstance(arguments, dict):
                raise ControlError("the body must be a JSON object")
            return json_answer(route(arguments))
        except (ControlError, FaultError, json.JSONDecodeError, UnicodeDecodeError) as error:
            return json_answer({"error": str(error)}, 400)

    # -- reads ---------------------------------------------------------------------------------
    def _health(self, arguments: Mapping[str, Any]) -> object:
        exchange = self.exchange
        now = exchange.now()
        return {
            "status": "ok",
            "now": now.isoformat(),
            "date": str(exchange.contracts.day),
            "market_open": exchange.market.is_open(now),
            "contracts": len(exchange.contracts),
            "orders": len(exchange.book.orders),
            "sessions": len(exchange.sessions),
        }

    def _book(self, arguments: Mapping[str, Any]) -> object:
        broker, client_id = arguments.get("broker"), arguments.get("client_id")

        def wanted(row_broker: object, row_client: object) -> bool:
            return broker in (None, row_broker) and client_id in (None, row_client)

        return {
            "orders": [
                _order(o)
                for o in self.exchange.book.orders
                if wanted(o.call.broker, o.call.client_id)
            ],
            "refused": [
                row for row in self.exchange.refused if wanted(row["broker"], row["client_id"])
            ],
        }

    def _positions(self, arguments: Mapping[str, Any]) -> object:
        _ = self.exchange.contracts  # rolls the day
        return {
            "positions": [
                {
                    "broker": account.broker,
                    "client_id": account.client_id,
                    "symbol": _symbol(account.broker, row.contract),
                    "exchange": row.contract.exchange,
                    "product": row.product,
                    "quantity": row.quantity,
                    "buy_quantity": row.buy_quantity,
                    "sell_quantity": row.sell_quantity,
                    "buy_value": str(row.buy_value),
                    "sell_value": str(row.sell_value),
                }
                for account in self.exchange.book.accounts.values()
                if arguments.get("broker") in (None, account.broker)
                and arguments.get("client_id") in (None, account.client_id)
                for row in account.holdings()
            ]
        }

    # -- faults ------------------------------------------------------------------------------
    def _list_faults(self, arguments: Mapping[str, Any]) -> object:
        return {"faults": [fault.describe() for fault in self.exchange.faults.all]}

    def _arm_fault(self, arguments: Mapping[str, Any]) -> object:
        return {"id": self.exchange.faults.arm(arguments).id}

    def _clear_faults(self, arguments: Mapping[str, Any]) -> object:
        """Remove all faults, or those of the named clients."""
        client_ids = arguments.get("client_ids", [])
        if not isinstance(client_ids, list):
            raise ControlError("client_ids: a list")
        self.exchange.faults.clear(client_ids)
        return self._list_faults({})

    # -- market ------------------------------------------------------------------------------
    def _market(self, arguments: Mapping[str, Any]) -> object:
        market = self.exchange.market
        spots = self.exchange.spots()
        return {
            "noise": market.noise,
            "underlyings": {
                name: {"spot": round(spot, 2), "iv": market.iv[name]}
                for name, spot in spots.items()
            },
        }

    def _move_market(self, arguments: Mapping[str, Any]) -> object:
        market = self.exchange.market
        if "noise" in arguments:
            market.set_noise(_number(arguments, "noise", 0, 100))
        if "underlying" in arguments:
            self._move_underlying(str(arguments["underlying"]), arguments)
        elif "noise" not in arguments:
            raise ControlError("underlying or noise is needed")
        return self._market({})

    def _move_underlying(self, name: str, arguments: Mapping[str, Any]) -> None:
        if name not in UNDERLYINGS:
            raise ControlError(f"underlying: one of {', '.join(UNDERLYINGS)}")
        market = self.exchange.market
        if "iv" in arguments:
            market.set_iv(name, _number(arguments, "iv", 0.001, 5))
        ramp = _number(arguments, "ramp_seconds", 0, 86400) if "ramp_seconds" in arguments else 0.0
        now = market.market_time(self.exchange.now())
        if "spot" in arguments:
            spot = _number(arguments, "spot", 1, 10**6)
            market.move(name, now=now, spot=spot, ramp_seconds=ramp)
        elif "shift" in arguments:
            shift = _number(arguments, "shift", -(10**6), 10**6)
            market.move(name, now=now, shift=shift, ramp_seconds=ramp)
        elif "iv" not in arguments:
            raise ControlError("spot, shift or iv is needed")

    # -- accounts ----------------------------------------------------------------------------
    def _app(self, arguments: Mapping[str, Any]) -> object:
        broker, api_key = _broker(arguments), _text(arguments, "api_key")
        self.exchange.sessions.set_redirect(broker, api_key, _text(arguments, "redirect_url"))
        return {"broker": broker, "api_key": api_key}

    def _session(self, arguments: Mapping[str, Any]) -> object:
        login = self.exchange.sessions.open(
            _broker(arguments),
            _text(arguments, "api_key"),
            _text(arguments, "client_id"),
            self.exchange.now(),
        )
        return {"access_token": login.token, "expires_at": login.expires_at.isoformat()}

    def _end_session(self, arguments: Mapping[str, Any]) -> object:
        broker, client_id = _broker(arguments), _text(arguments, "client_id")
        return {"ended": self.exchange.sessions.revoke_client(broker, client_id)}

    def _funds(self, arguments: Mapping[str, Any]) -> object:
        try:
            funds = Decimal(str(arguments.get("funds")))
        except InvalidOperation:
            raise ControlError("funds: rupees") from None
        account = self.exchange.book.account(_broker(arguments), _text(arguments, "client_id"))
        account.funds = funds
        return {"client_id": account.client_id, "funds": str(account.funds)}

    def _manner(self, arguments: Mapping[str, Any]) -> object:
        manner = self.exchange.manner
        return {"login": manner.login, "history": manner.history, "updates": manner.updates}

    def _set_manner(self, arguments: Mapping[str, Any]) -> object:
        manner = self._manner({}) | arguments  # type: ignore[operator]
        if manner.keys() != {"login", "history", "updates"}:
            raise ControlError("login, history or updates")
        if not isinstance(manner["history"], bool):
            raise ControlError("history: true or false")
        if manner["updates"] not in UPDATE_MANNERS:
            raise ControlError(f"updates: one of {', '.join(UPDATE_MANNERS)}")
        if manner["login"] not in LOGIN_MANNERS:
            raise ControlError(f"login: one of {', '.join(LOGIN_MANNERS)}")
        self.exchange.manner = Manner(**manner)
        return self._manner({})

    def _limits(self, arguments: Mapping[str, Any]) -> object:
        """The current limits, after the requested changes, and how many calls exceeded one, by
        client.

        A change resets the counters.
        """
        gate = self.exchange.gate
        if arguments:
            try:
                gate.limits = gate.limits.changed(arguments)
            except ValueError as error:
                raise ControlError(str(error)) from None
            gate.clear()
        refused = [
            {"broker": broker, "client_id": client_id, "calls": calls}
            for (broker, client_id), calls in gate.refused.items()
        ]
        return {"limits": gate.limits.as_dict(), "refused": refused}

    def _calls(self, arguments: Mapping[str, Any]) -> object:
        """Every call of one client since the first request for it, as the limits counted it."""
        calls = self.exchange.gate.watch(_broker(arguments), _text(arguments, "client_id"))
        return {
            "calls": [
                {
                    "at": call.at.isoformat(timespec="microseconds"),
                    "kind": call.kind,
                    "refused": call.refused,
                }
                for call in calls
            ]
        }

    def _reset(self, arguments: Mapping[str, Any]) -> object:
        self.exchange.reset(sessions=bool(arguments.get("sessions", False)))
        return {"status": "ok"}


def _order(o: Order) -> dict[str, object]:
    return {
        "broker": o.call.broker,
        "client_id": o.call.client_id,
        "order_id": o.order_id,
        "tag": o.call.tag,
        "app": o.call.app,
        "symbol": o.call.symbol,
        "exchange": o.call.exchange,
        "underlying": o.contract.underlying,
        "side": o.call.side,
        "product": o.call.product,
        "order_type": o.call.order_type,
        "quantity": o.quantity,
        "price": str(o.price),
        "status": o.status.value,
        "filled_quantity": o.filled,
        "average_price": str(o.average_price),
        "received_at": o.call.received_at.isoformat(timespec="microseconds"),
        "visible_at": o.visible_at.isoformat(timespec="microseconds"),
        "updated_at": o.updated_at.isoformat(timespec="microseconds"),
        "cause": o.cause,
        "message": o.message,
    }


def _symbol(broker: str, contract: Any) -> str:
    return str(contract.kite_symbol if broker == "zerodha" else contract.noren_symbol)


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise ControlError(f"{name}: text")
    return value


def _broker(arguments: Mapping[str, Any]) -> str:
    broker = _text(arguments, "broker")
    if broker not in BROKERS:
        raise ControlError(f"broker: one of {', '.join(BROKERS)}")
    return broker


def _number(arguments: Mapping[str, Any], name: str, low: float, high: float) -> float:
    value = arguments[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ControlError(f"{name}: a number from {low} to {high}")
    return float(value)
