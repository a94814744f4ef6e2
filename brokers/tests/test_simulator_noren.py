"""Noren (Zebu) on the wire: what a client of the real one would see."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import zipfile
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from brokers.simulator.wire import FORM
from brokers.tests.driven_simulator import DrivenSimulator

CLIENT_ID = "Z56004_U"


@pytest.fixture
def simulator() -> DrivenSimulator:
    return DrivenSimulator()


def raw(simulator: DrivenSimulator, operation: str, body: str, token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    path = f"/NorenWClientAPI/{operation}"
    answer = simulator.send(simulator.noren_wire, "POST", path, body.encode(), headers)
    return answer.status, json.loads(answer.body)


def log_in(simulator: DrivenSimulator) -> str:
    form = {"client_id": CLIENT_ID, "user_id": "Z56004", "password": "x"}
    answer = simulator.send(
        simulator.noren_wire,
        "POST",
        "/OAuthlogin/authorize/oauth",
        urlencode(form).encode(),
        {"Content-Type": FORM},
    )
    assert answer.status == 302
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def gen_token(simulator: DrivenSimulator, code: str, secret: str, **more: str) -> Any:
    checksum = hashlib.sha256((CLIENT_ID + secret + code).encode()).hexdigest()
    body = "jData=" + json.dumps({"code": code, "checksum": checksum} | more)
    return raw(simulator, "GenAcsTok", body)[1]


# -- login ---------------------------------------------------------------------------------------
def test_login_gives_a_code_and_the_code_a_token(simulator: DrivenSimulator) -> None:
    page = simulator.send(
        simulator.noren_wire, "GET", f"/OAuthlogin/authorize/oauth?client_id={CLIENT_ID}"
    )
    assert f'value="{CLIENT_ID}"' in page.body.decode()
    code = log_in(simulator)
    body = gen_token(simulator, code, f"secret-{CLIENT_ID}", uid="Z56004")
    assert body["stat"] == "Ok"
    assert {"USERID", "actid"}.isdisjoint(body)
    asked = raw(
        simulator, "ClientDetails", 'jData={"uid":"Z56004","actid":"Z56004"}', body["access_token"]
    )
    assert (asked[0], asked[1]["actid"]) == (200, "Z56004")
    status, limits = raw(
        simulator, "Limits", 'jData={"uid":"Z56004","actid":"Z56004"}', body["access_token"]
    )
    assert (status, limits["stat"]) == (200, "Ok")
    assert gen_token(simulator, code, f"secret-{CLIENT_ID}")["stat"] == "Not_Ok"


def test_a_wrong_secret_or_uid_is_refused(simulator: DrivenSimulator) -> None:
    assert gen_token(simulator, log_in(simulator), "secret-other")["emsg"].startswith(
        "Invalid Input"
    )
    body = gen_token(simulator, log_in(simulator), f"secret-{CLIENT_ID}", uid="Z1")
    assert body["stat"] == "Not_Ok"


def test_the_legacy_key_works_too(simulator: DrivenSimulator) -> None:
    token = simulator.token("zebu", "Z56004")
    body = 'jData={"uid":"Z56004","actid":"Z56004"}&jKey=' + token
    assert raw(simulator, "Limits", body)[1]["stat"] == "Ok"


def test_a_session_is_good_for_its_client_and_its_day(simulator: DrivenSimulator) -> None:
    token = simulator.token("zebu", "Z56004")
    body = 'jData={"uid":"Z1","actid":"Z1"}'
    expired = "Session Expired :  Invalid Session Key"
    assert raw(simulator, "OrderBook", body, token) == (
        200,
        {"stat": "Not_Ok", "request_time": "10:00:00 18-08-2026", "emsg": expired},
    )
    simulator.now = dt.datetime(2026, 8, 18, 23, 30, tzinfo=dt.UTC)  # 05:00 IST
    assert simulator.noren("OrderBook")[1]["emsg"] == expired


# -- orders --------------------------------------------------------------------------------------
def test_an_order_is_pending_then_complete(simulator: DrivenSimulator) -> None:
    assert simulator.noren("OrderBook") == (
        400,
        {
            "stat": "Not_Ok",
            "request_time": "10:00:00 18-08-2026",
            "emsg": 'Error Occurred : 5 "no data"',
        },
    )
    status, body = simulator.noren_place()
    assert (status, body["stat"], body["request_time"]) == (200, "Ok", "10:00:00 18-08-2026")
    row = simulator.noren("OrderBook")[1][0]
    assert (row["status"], row["fillshares"]) == ("PENDING", "0")
    assert "avgprc" not in row
    simulator.forward(0.03)
    row = simulator.noren("OrderBook")[1][0]
    assert (row["norenordno"], row["status"]) == (body["norenordno"], "COMPLETE")
    assert (row["remarks"], row["fillshares"], row["stat"]) == ("Q0001", "65", "Ok")
    assert all(isinstance(value, str) for value in row.values())
    assert Decimal(row["avgprc"]) == simulator.exchange.book.orders[0].average_price
    steps = simulator.noren("SingleOrdHist", norenordno=body["norenordno"])[1]
    assert [step["rpt"] for step in steps] == ["Fill", "PendingNew", "NewAck"]
    (trade,) = simulator.noren("TradeBook")[1]
    assert (trade["flqty"], trade["flprc"]) == ("65", row["avgprc"])
    (position,) = simulator.noren("PositionBook")[1]
    assert (position["netqty"], position["prd"]) == ("65", "I")
    assert Decimal(simulator.noren("Limits")[1]["marginused"]) > 0


def test_a_resting_order_can_be_changed_and_cancelled(simulator: DrivenSimulator) -> None:
    price = simulator.resting_price()
    number = simulator.noren_place(prc=str(price))[1]["norenordno"]
    simulator.forward(0.03)
    change = {
        "norenordno": number,
        "exch": "NFO",
        "tsym": simulator.atm().noren_symbol,
        "qty": "65",
    }
    change |= {"prctyp": "LMT", "prc": str(price + 1), "ret": "DAY"}
    done = simulator.noren("ModifyOrder", **change)[1]
    assert (done["stat"], done["result"]) == ("Ok", number)
    assert simulator.noren("OrderBook")[1][0]["prc"] == str(price + 1)
    zero_trigger = simulator.noren("ModifyOrder", **change, trgprc="0")[1]
    assert zero_trigger["emsg"] == "Trigger price invalid - 0.00"
    assert simulator.noren("CancelOrder", norenordno=number)[1]["result"] == number
    assert simulator.noren("OrderBook")[1][0]["status"] == "CANCELED"
    emsg = simulator.noren("CancelOrder", norenordno=number)[1]["emsg"]
    assert emsg == "Rejected : SAF:order is not open to cancel"
    emsg = simulator.noren("CancelOrder", norenordno="1")[1]["emsg"]
    assert emsg == "Rejected : ORA:Order not found to Cancel"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tsym": "NIFTY99"}, "Trading Symbol"),
        ({"qty": "64"}, "lot size 65"),
        ({"qty": "1820"}, "freeze"),
        ({"prc": "50.03"}, "tick size"),
        ({"prctyp": "MKT", "prc": "0"}, "protection"),
        ({"prctyp": "MKT", "prc": "0", "mkt_protection": "0"}, "protection"),
        ({"prd": "C"}, "prd"),
        ({"trantype": "X"}, "trantype"),
        ({"qty": ""}, "qty"),
        ({"ret": "EOS"}, "ret"),
        ({"prc": "many"}, "prc"),
    ],
)
def test_refusals_are_200_not_ok(
    simulator: DrivenSimulator, changes: dict[str, str], words: str
) -> None:
    status, body = simulator.noren_place(**changes)
    assert (status, body["stat"]) == (200, "Not_Ok")
    assert body["emsg"].startswith("Invalid Input")
    assert words in body["emsg"]
    assert simulator.exchange.book.orders == []
    assert len(simulator.exchange.refused) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "jData=",
        "jData=[]",
        "jData=%7B%22uid%22%3A%22Z56004%22%7D",
        'jData={"uid":5}',
        'jData={"uid":"Z56004","actid":"Z56004","tsym":"M&M"}',
        "jData=" + "[" * 100_000,
    ],
)
def test_a_body_that_is_not_jdata_is_refused(simulator: DrivenSimulator, body: str) -> None:
    status, answer = raw(simulator, "OrderBook", body, simulator.token("zebu", "Z56004"))
    assert (status, answer["stat"]) == (200, "Not_Ok")
    assert answer["emsg"].startswith("Invalid Input")


def test_the_sdks_odd_values_are_tolerated(simulator: DrivenSimulator) -> None:
    assert simulator.noren_place(trgprc="None", mkt_protection="0")[1]["stat"] == "Ok"


def test_an_escaped_ampersand_stays_in_the_data(simulator: DrivenSimulator) -> None:
    token = simulator.token("zebu", "Z56004")
    body = 'jData={"uid":"Z56004","actid":"Z56004","exch":"NFO","stext":"A\\u0026B"}'
    assert "no data" in raw(simulator, "SearchScrip", body, token)[1]["emsg"]


def test_without_money_the_order_is_rejected_later(simulator: DrivenSimulator) -> None:
    simulator.control("POST", "/funds", broker="zebu", client_id="Z56004", funds="100")
    assert simulator.noren_place()[1]["stat"] == "Ok"
    simulator.forward(0.03)
    row = simulator.noren("OrderBook")[1][0]
    assert row["status"] == "REJECTED"
    assert row["rejreason"].startswith("RED:Margin Shortfall")


ELEVENTH = "Invalid Input : Order Recieved 11 in a current second exceeds Limit 10 for user"
TOO_MANY_A_MINUTE = (
    "Invalid Input : Order Recieved 121 in a current minute exceeds Limit 120 for user"
)


def test_the_eleventh_call_of_a_second_is_400_whatever_it_asks(simulator: DrivenSimulator) -> None:
    answers = [simulator.noren_place() for _ in range(4)]
    answers += [simulator.noren("OrderBook") for _ in range(3)]
    answers += [simulator.noren("GetQuotes", exch="NSE", token="26000") for _ in range(3)]
    assert {status for status, _ in answers} == {200}
    status, answer = simulator.noren("CancelOrder", norenordno="1")
    assert (status, answer["stat"], answer["emsg"]) == (400, "Not_Ok", ELEVENTH)
    assert simulator.noren_place()[1]["emsg"] == ELEVENTH
    assert simulator.control("GET", "/book")[1]["refused"][0]["reason"] == "RATE_LIMIT"
    simulator.forward(1)
    assert simulator.noren_place()[1]["stat"] == "Ok"


def test_the_121st_call_of_a_minute_is_refused(simulator: DrivenSimulator) -> None:
    said = []
    for _ in range(121):
        said.append(simulator.noren("GetQuotes", exch="NSE", token="26000"))
        simulator.forward(0.2)
    assert [status for status, _ in said] == [200] * 120 + [400]
    assert said[-1][1]["emsg"] == TOO_MANY_A_MINUTE


# -- market data ---------------------------------------------------------------------------------
def test_quotes(simulator: DrivenSimulator) -> None:
    contract = simulator.atm()
    row = simulator.noren("GetQuotes", exch="NFO", token=str(contract.token))[1]
    assert (row["tsym"], row["ltt"]) == (contract.noren_symbol, "10:00:00")
    assert Decimal(row["bp1"]) <= Decimal(row["lp"]) <= Decimal(row["sp1"])
    for token in ("26000", "26009", "26037"):
        index = simulator.noren("GetQuotes", exch="NSE", token=token)[1]
        assert Decimal(index["lp"]) > 1000
    for exch, token in (("NSE", "1"), ("NFO", "1"), ("NFO", "x"), ("BFO", str(contract.token))):
        assert simulator.noren("GetQuotes", exch=exch, token=token)[1]["stat"] == "Not_Ok"


def test_search_and_security_info(simulator: DrivenSimulator) -> None:
    contract = simulator.atm()
    options = simulator.noren("SearchScrip", exch="NFO", stext=contract.noren_symbol)[1]["values"]
    assert [row["token"] for row in options] == [str(contract.token)]
    index = simulator.noren("SearchScrip", exch="NSE", stext="Nifty Bank")[1]["values"]
    assert [row["token"] for row in index] == ["26009"]
    info = simulator.noren("GetSecurityInfo", exch="NFO", token=str(contract.token))[1]
    assert (info["frzqty"], info["ls"], info["optt"]) == ("1800", "65", "CE")
    assert info["exd"] == "18-AUG-2026"


def test_the_master_needs_no_login(simulator: DrivenSimulator) -> None:
    answer = simulator.send(simulator.noren_wire, "GET", "/NFO_symbols.txt.zip")
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        text = archive.read("NFO_symbols.txt").decode()
    assert text == simulator.exchange.contracts.noren_txt()
    assert text.startswith(
        "Exchange,Token,LotSize,Symbol,TradingSymbol,Expiry,Instrument,OptionType,StrikePrice,"
    )
    assert simulator.send(simulator.noren_wire, "GET", "/elsewhere").status == 404
    assert simulator.send(simulator.noren_wire, "GET", "/NorenWClientAPI/OrderBook").status == 404
