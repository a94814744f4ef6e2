"""The control port, and faults as the wires show them and the oracle knows them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from brokers.simulator.faults import Kind
from brokers.tests.driven_simulator import API_KEY, DrivenSimulator


@pytest.fixture
def simulator() -> DrivenSimulator:
    return DrivenSimulator()


def book(simulator: DrivenSimulator, **query: str) -> Any:
    path = "/book" + "".join(f"?{key}={value}" for key, value in query.items())
    return simulator.control("GET", path)[1]


def test_health(simulator: DrivenSimulator) -> None:
    status, body = simulator.control("GET", "/health")
    assert (status, body["status"], body["date"]) == (200, "ok", "2026-08-18")
    assert body["market_open"] is True
    assert body["contracts"] == len(simulator.exchange.contracts)


def test_the_book_is_the_oracle(simulator: DrivenSimulator) -> None:
    simulator.kite_place(tag="Q1")
    simulator.noren_place(remarks="Q2")
    simulator.kite_place(tag="Q3", quantity=1)
    simulator.forward(0.03)
    seen = book(simulator)
    assert [(o["broker"], o["client_id"], o["tag"], o["status"]) for o in seen["orders"]] == [
        ("zerodha", "AB1234", "Q1", "COMPLETE"),
        ("zebu", "Z56004", "Q2", "COMPLETE"),
    ]
    assert seen["orders"][0]["received_at"] == "2026-08-18T04:30:00.000000+00:00"
    assert [(r["tag"], r["cause"]) for r in seen["refused"]] == [("Q3", "INVALID")]
    assert [o["tag"] for o in book(simulator, broker="zebu")["orders"]] == ["Q2"]
    assert [o["tag"] for o in book(simulator, client_id="AB1234")["orders"]] == ["Q1"]


def test_positions_net_by_client_and_symbol(simulator: DrivenSimulator) -> None:
    simulator.kite_place()
    simulator.forward(0.03)
    (row,) = simulator.control("GET", "/positions")[1]["positions"]
    assert (row["client_id"], row["symbol"], row["quantity"]) == (
        "AB1234",
        simulator.atm().kite_symbol,
        65,
    )
    bid = simulator.exchange.quote(simulator.atm()).bid
    simulator.kite_place(transaction_type="SELL", price=bid)
    simulator.forward(0.03)
    (row,) = simulator.control("GET", "/positions?broker=zerodha")[1]["positions"]
    assert row["quantity"] == 0
    assert simulator.control("GET", "/positions?broker=zebu")[1]["positions"] == []


ACCEPTING: list[dict[str, Any]] = [
    {"kind": "drop_after_accept"},
    {"kind": "status_after_accept", "status": 504},
    {"kind": "truncated_json"},
    {"kind": "delay", "seconds": 0.1},
    {"kind": "hide", "seconds": 3},
    {"kind": "hide", "seconds": 3, "answer": "drop"},
    {"kind": "partial_fill", "fraction": 0.5},
    {"kind": "reject", "cause": "MARGIN", "async": True},
]
PREVENTING: list[tuple[dict[str, Any], str]] = [
    ({"kind": "rate_limit"}, "RATE_LIMIT"),
    ({"kind": "html_502"}, "BROKER_DOWN"),
    ({"kind": "refuse"}, "BROKER_DOWN"),
    ({"kind": "say", "message": "no database connection"}, "BROKER_DOWN"),
    ({"kind": "expired_session"}, "SESSION_EXPIRED"),
    ({"kind": "reject", "cause": "MARGIN"}, "MARGIN"),
    ({"kind": "reject", "cause": "IP_NOT_REGISTERED"}, "IP_NOT_REGISTERED"),
    ({"kind": "reject"}, "OTHER"),
]


def test_every_kind_of_fault_is_examined_here() -> None:
    kinds = {f["kind"] for f in ACCEPTING} | {f["kind"] for f, _ in PREVENTING}
    assert kinds | {Kind.LAG} == set(Kind), "what lags is the list of positions, below"


@pytest.mark.parametrize("fault", ACCEPTING, ids=str)
@pytest.mark.parametrize("broker", ["zerodha", "zebu"])
def test_after_these_faults_the_order_exists(
    simulator: DrivenSimulator, fault: dict[str, Any], broker: str
) -> None:
    status, body = simulator.control("POST", "/faults", **fault, count=1)
    assert status == 200
    if broker == "zerodha":
        simulator.kite_place(tag="Q1", quantity=130)
    else:
        simulator.noren_place(remarks="Q1", qty="130")
    seen = book(simulator)
    assert [o["tag"] for o in seen["orders"]] == ["Q1"]
    assert seen["refused"] == []
    (armed,) = simulator.control("GET", "/faults")[1]["faults"]
    assert (armed["id"], armed["hit_count"]) == (body["id"], 1)
    (hit,) = armed["hits"]
    assert (hit["broker"], hit["tag"]) == (broker, "Q1")
    assert hit["order_id"] == seen["orders"][0]["order_id"]


@pytest.mark.parametrize(("fault", "cause"), PREVENTING, ids=str)
@pytest.mark.parametrize("broker", ["zerodha", "zebu"])
def test_after_these_faults_there_is_no_order(
    simulator: DrivenSimulator, fault: dict[str, Any], cause: str, broker: str
) -> None:
    simulator.control("POST", "/faults", **fault, count=1)
    if broker == "zerodha":
        assert simulator.kite_place(tag="Q1")[1]["status"] == "error"
    else:
        assert simulator.noren_place(remarks="Q1")[1]["stat"] == "Not_Ok"
    seen = book(simulator)
    assert seen["orders"] == []
    assert [(r["tag"], r["cause"]) for r in seen["refused"]] == [("Q1", cause)]
    (armed,) = simulator.control("GET", "/faults")[1]["faults"]
    assert seen["refused"][0]["fault"] == armed["id"]


def test_a_hidden_order_appears_in_time(simulator: DrivenSimulator) -> None:
    simulator.control("POST", "/faults", kind="hide", seconds=3, count=1)
    number = simulator.noren_place()[1]["norenordno"]
    simulator.forward(2.9)
    assert simulator.noren("OrderBook")[1]["stat"] == "Not_Ok"
    assert simulator.noren("PositionBook")[1]["stat"] == "Not_Ok"
    assert simulator.noren("CancelOrder", norenordno=number)[1]["stat"] == "Not_Ok"
    assert simulator.noren("SingleOrdHist", norenordno=number)[1]["stat"] == "Not_Ok"
    simulator.forward(0.2)
    assert [row["status"] for row in simulator.noren("OrderBook")[1]] == ["COMPLETE"]
    assert [row["netqty"] for row in simulator.noren("PositionBook")[1]] == ["65"]


def test_a_partial_fill_leaves_whole_lots_open(simulator: DrivenSimulator) -> None:
    simulator.control("POST", "/faults", kind="partial_fill", fraction=0.5, count=1)
    simulator.kite_place(quantity=195)
    simulator.forward(0.03)
    simulator.exchange.tick()
    row = simulator.kite("GET", "/orders")[1]["data"][0]
    assert (row["status"], row["filled_quantity"], row["pending_quantity"]) == ("OPEN", 65, 130)


def test_a_late_rejection_speaks_the_brokers_words(simulator: DrivenSimulator) -> None:
    simulator.control("POST", "/faults", kind="reject", cause="MARGIN", **{"async": True})
    simulator.kite_place()
    simulator.noren_place()
    simulator.forward(0.03)
    kite = simulator.kite("GET", "/orders")[1]["data"][0]
    assert kite["status_message"].startswith(
        "Insufficient funds. Required margin is 95417.84 but available margin is 74251.80."
    )
    assert simulator.noren("OrderBook")[1][0]["rejreason"].startswith("RED:Margin Shortfall")
    assert {o["cause"] for o in book(simulator)["orders"]} == {"MARGIN"}


def test_an_expired_session_stays_expired_unless_asked(simulator: DrivenSimulator) -> None:
    simulator.control("POST", "/faults", kind="expired_session", revoke=False, count=1)
    assert simulator.kite_place()[0] == 403
    assert simulator.kite("GET", "/orders")[0] == 200
    simulator.control("POST", "/faults", kind="expired_session", count=1)
    assert simulator.kite_place()[0] == 403
    assert simulator.kite("GET", "/orders")[0] == 403


@pytest.mark.parametrize(
    ("op", "kite_path", "operation"),
    [
        ("book", "/orders", "OrderBook"),
        ("positions", "/portfolio/positions", "Limits"),
        ("quote", "/quote/ltp?i=NSE:NIFTY+50", "SearchScrip"),
    ],
)
def test_reads_can_fail_too(
    simulator: DrivenSimulator, op: str, kite_path: str, operation: str
) -> None:
    simulator.control("POST", "/faults", kind="rate_limit", op=op)
    assert simulator.kite("GET", kite_path)[0] == 429
    status, body = simulator.noren(operation, exch="NSE", stext="NIFTY")
    assert (status, "exceeds Limit 10 for user" in body["emsg"]) == (400, True)
    assert simulator.kite_place()[0] == 200
    simulator.control("DELETE", "/faults")
    simulator.forward(1)
    assert simulator.kite("GET", kite_path)[0] == 200


def test_the_token_exchange_can_fail_too(simulator: DrivenSimulator) -> None:
    simulator.control("POST", "/faults", kind="rate_limit", op="token")
    assert simulator.kite("POST", "/session/token", request_token="x")[0] == 429
    assert simulator.noren("GenAcsTok", code="x")[0] == 400


@pytest.mark.parametrize("op", ["cancel", "modify"])
def test_changes_can_fail_too(simulator: DrivenSimulator, op: str) -> None:
    simulator.control("POST", "/faults", kind="expired_session", op=op, revoke=False)
    order_id = simulator.kite_place(price=simulator.resting_price())[1]["data"]["order_id"]
    method = "DELETE" if op == "cancel" else "PUT"
    assert simulator.kite(method, f"/orders/regular/{order_id}", price=1)[0] == 403
    operation = "CancelOrder" if op == "cancel" else "ModifyOrder"
    assert "Session Expired" in simulator.noren(operation, norenordno="1")[1]["emsg"]


def test_limits_can_be_changed_openly(simulator: DrivenSimulator) -> None:
    assert simulator.control("GET", "/limits")[1]["limits"]["kite_quotes_per_second"] == 1
    changed = simulator.control(
        "POST", "/limits", kite_quotes_per_second=0, noren_calls_per_second=2
    )
    assert changed[1]["limits"]["kite_orders_per_second"] == 10
    assert {simulator.kite("GET", "/quote/ltp?i=NSE:NIFTY+50")[0] for _ in range(30)} == {200}
    asked = [simulator.noren("GetQuotes", exch="NSE", token="26000")[0] for _ in range(3)]
    assert asked == [200, 200, 400]
    assert simulator.control("GET", "/limits")[1]["refused"] == [
        {"broker": "zebu", "client_id": "Z56004", "calls": 1}
    ]
    for wrong in ({"kite": 1}, {"kite_quotes_per_second": -1}, {"kite_quotes_per_second": True}):
        assert simulator.control("POST", "/limits", **wrong)[0] == 400


def test_the_calls_of_who_is_watched_are_told_by_kind(simulator: DrivenSimulator) -> None:
    """Placing, changing and cancelling alike, what was refused too; nobody else's."""

    def calls(**who: str) -> list[tuple[str, bool]]:
        rows = simulator.control("POST", "/calls", **who)[1]["calls"]
        return [(call["kind"], call["refused"]) for call in rows]

    kite, noren = (
        {"broker": "zerodha", "client_id": "AB1234"},
        {"broker": "zebu", "client_id": "Z56004"},
    )
    simulator.kite_place()
    assert calls(**kite) == calls(**noren) == []
    simulator.control("POST", "/limits", kite_orders_per_second=3, noren_calls_per_second=3)
    placed = simulator.kite_place(price=simulator.resting_price())[1]["data"]["order_id"]
    simulator.kite("DELETE", f"/orders/regular/{placed}")
    simulator.kite("GET", "/orders")
    simulator.kite("GET", "/quote/ltp?i=NSE:NIFTY+50")
    simulator.kite_place()
    simulator.kite_place()
    simulator.noren_place()
    simulator.noren("CancelOrder", norenordno="1")
    simulator.noren("OrderBook")
    simulator.noren("GetQuotes", exch="NSE", token="26000")
    assert calls(**kite) == [
        ("placed", False),
        ("orders", False),
        ("reads", False),
        ("quotes", False),
        ("placed", False),
        ("placed", True),
    ]
    assert calls(**noren) == [
        ("placed", False),
        ("orders", False),
        ("reads", False),
        ("quotes", True),
    ]
    seen = simulator.control("GET", "/calls?broker=zebu&client_id=Z56004")[1]["calls"]
    assert seen[0]["at"] == "2026-08-18T04:30:00.000000+00:00"
    assert simulator.control("GET", "/calls?broker=zebu")[0] == 400
    assert calls(broker="zebu", client_id="Z56005") == []


def test_the_book_names_the_app_that_placed(simulator: DrivenSimulator) -> None:
    simulator.kite_place()
    simulator.noren_place()
    assert [order["app"] for order in book(simulator)["orders"]] == [API_KEY, API_KEY]


def test_moving_the_market(simulator: DrivenSimulator) -> None:
    before = simulator.control("GET", "/market")[1]["underlyings"]["NIFTY"]["spot"]
    simulator.control("POST", "/market", underlying="NIFTY", shift=100)
    assert simulator.control("GET", "/market")[1]["underlyings"]["NIFTY"]["spot"] == pytest.approx(
        before + 100
    )
    simulator.control("POST", "/market", underlying="NIFTY", spot=24000, ramp_seconds=10)
    simulator.forward(20)
    simulator.control("POST", "/market", noise=0)
    body = simulator.control("POST", "/market", underlying="NIFTY", spot=24000, iv=0.2)[1]
    assert body["underlyings"]["NIFTY"] == {"spot": 24000.0, "iv": 0.2}


def test_a_session_without_the_login_page(simulator: DrivenSimulator) -> None:
    body = simulator.control(
        "POST", "/sessions", broker="zerodha", api_key="apikey", client_id="AB1234"
    )[1]
    simulator.tokens[("zerodha", "AB1234")] = body["access_token"]
    assert simulator.kite("GET", "/user/profile")[1]["data"]["user_id"] == "AB1234"
    ended = simulator.control("DELETE", "/sessions", broker="zerodha", client_id="AB1234")[1]
    assert ended == {"ended": 1}
    assert simulator.kite("GET", "/user/profile")[0] == 403


def test_reset_empties_everything_but_logins(simulator: DrivenSimulator) -> None:
    simulator.control("POST", "/faults", kind="rate_limit", op="cancel")
    simulator.control("POST", "/market", underlying="NIFTY", shift=500)
    simulator.kite_place()
    simulator.kite_place(quantity=1)
    simulator.control("POST", "/reset", sessions=False)
    assert book(simulator) == {"orders": [], "refused": []}
    assert simulator.control("GET", "/faults")[1] == {"faults": []}
    assert simulator.kite("GET", "/orders")[1]["data"] == []
    simulator.control("POST", "/reset", sessions=True)
    assert simulator.kite("GET", "/orders")[0] == 403


def test_order_ids_never_come_again(simulator: DrivenSimulator) -> None:
    first = simulator.kite_place()[1]["data"]["order_id"]
    simulator.control("POST", "/reset", sessions=False)
    simulator.forward(0.03)  # the forgotten order reaches a market that no longer knows it
    assert simulator.control("GET", "/positions")[1]["positions"] == []
    second = simulator.kite_place()[1]["data"]["order_id"]
    restarted = DrivenSimulator(now=simulator.now + dt.timedelta(seconds=1)).kite_place()[1][
        "data"
    ]["order_id"]
    assert first < second < restarted


@pytest.mark.parametrize(
    ("method", "path", "arguments"),
    [
        ("POST", "/faults", {"kind": "earthquake"}),
        ("POST", "/market", {"underlying": "DOW", "shift": 1}),
        ("POST", "/market", {"underlying": "NIFTY"}),
        ("POST", "/market", {"underlying": "NIFTY", "spot": "high"}),
        ("POST", "/market", {"spot": 1}),
        ("POST", "/apps", {"broker": "zerodha", "api_key": "a"}),
        ("POST", "/sessions", {"broker": "bank", "api_key": "a", "client_id": "b"}),
        ("POST", "/funds", {"broker": "zebu", "client_id": "b", "funds": "much"}),
    ],
)
def test_control_mistakes_are_explained(
    simulator: DrivenSimulator, method: str, path: str, arguments: dict[str, Any]
) -> None:
    status, body = simulator.control(method, path, **arguments)
    assert status == 400
    assert body["error"]


def test_control_answers_what_it_does_not_know(simulator: DrivenSimulator) -> None:
    assert simulator.control("GET", "/weather")[0] == 404
    for body in (b"{", b"[]", b"\xff"):
        assert simulator.send(simulator.control_wire, "POST", "/faults", body).status == 400


@pytest.mark.parametrize("broker", ["zerodha", "zebu"])
def test_positions_may_lag_behind_the_fills(simulator: DrivenSimulator, broker: str) -> None:
    match = {"broker": broker}
    simulator.control("POST", "/faults", kind="lag", op="positions", seconds=3, match=match)
    place = simulator.kite_place if broker == "zerodha" else simulator.noren_place
    place()
    simulator.forward(0.1)

    def held() -> int:
        if broker == "zerodha":
            rows = simulator.kite("GET", "/portfolio/positions")[1]["data"]["net"]
            return sum(row["quantity"] for row in rows)
        rows = simulator.noren("PositionBook")[1]
        return sum(int(row["netqty"]) for row in rows) if isinstance(rows, list) else 0

    assert held() == 0
    simulator.forward(2.8)
    assert held() == 0, "not yet"
    simulator.forward(0.3)
    assert held() == 65
