"""The brokers' side: the simulator's control port, its login pages, its files."""

from __future__ import annotations

import csv
import datetime as dt
import io
import zipfile
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from clients.demo.evidence import BookOrder, CountedCall, Place
from clients.demo.forms import Page, PageError
from clients.demo.story import IST, UNDERLYING, ZEBU, ZERODHA

TIMEOUT: Final = 20
Symbols = Mapping[tuple[str, str, Decimal], str]


class Simulator:
    """The control port of the broker simulator, and the brokers' public files."""

    def __init__(self, control: str, kite: str, noren: str) -> None:
        self.control, self.kite, self.noren = control, kite, noren
        self.session = requests.Session()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One call of the control port."""
        answer = self.session.request(method, self.control + path, json=body, timeout=TIMEOUT)
        if answer.status_code != 200:
            raise PageError(f"simulator {method} {path}: {answer.text[:200]}")
        return answer.json()

    def now(self) -> dt.datetime:
        """The installation's clock."""
        return dt.datetime.fromisoformat(self.call("GET", "/health")["now"])

    def calm(self) -> Decimal:
        """Stop the market's own movement; returns the index level (rupees) from then on."""
        market = self.call("POST", "/market", {"noise": 0})
        return Decimal(str(market["underlyings"][UNDERLYING]["spot"]))

    def move(self, shift: float, ramp_seconds: float) -> None:
        """Move the index by ``shift`` rupees over ``ramp_seconds``."""
        body = {"underlying": UNDERLYING, "shift": shift, "ramp_seconds": ramp_seconds}
        self.call("POST", "/market", body)

    def book(self) -> list[BookOrder]:
        """Every order that any broker accepted."""
        return [
            BookOrder(
                broker=row["broker"],
                client_id=row["client_id"],
                tag=row["tag"],
                symbol=row["symbol"],
                side=row["side"],
                filled=row["filled_quantity"],
                price=Decimal(row["average_price"]),
                status=row["status"],
                received_at=dt.datetime.fromisoformat(row["received_at"]).astimezone(IST),
                app=row["app"],
            )
            for row in self.call("GET", "/book")["orders"]
        ]

    def calls(self, broker: str, client_id: str) -> list[CountedCall]:
        """Every call of a client since the first request for its calls."""
        who = {"broker": broker, "client_id": client_id}
        return [
            CountedCall(row["kind"], dt.datetime.fromisoformat(row["at"]).astimezone(IST))
            for row in self.call("POST", "/calls", who)["calls"]
        ]

    def net_positions(self) -> dict[Place, int]:
        """Net units by broker, client and symbol; flat ones are left out."""
        return {
            (row["broker"], row["client_id"], row["symbol"]): row["quantity"]
            for row in self.call("GET", "/positions")["positions"]
            if row["quantity"]
        }

    def fault_hits(self) -> dict[str, int]:
        """Number of times that each armed fault struck, by its id."""
        return {row["id"]: row["hit_count"] for row in self.call("GET", "/faults")["faults"]}

    # -- the brokers' public files -------------------------------------------------------------
    def contracts(self, expiry: dt.date) -> tuple[Symbols, int]:
        """Names of the options of one expiry at both brokers, and the contract's lot size."""
        symbols: dict[tuple[str, str, Decimal], str] = {}
        lots = set()
        for row in self._kite_rows():
            if row["name"] == UNDERLYING and row["expiry"] == expiry.isoformat():
                key = (ZERODHA, row["instrument_type"], Decimal(row["strike"]))
                symbols[key] = row["tradingsymbol"]
                lots.add(int(row["lot_size"]))
        for row in self._noren_rows():
            if row["Symbol"] == UNDERLYING and row["Expiry"] == expiry.strftime("%d-%b-%Y").upper():
                key = (ZEBU, row["OptionType"], Decimal(row["StrikePrice"]))
                symbols[key] = row["TradingSymbol"]
                lots.add(int(row["LotSize"]))
        if len(lots) != 1:
            raise PageError(f"the contract lists name {len(lots)} lot sizes for {expiry}")
        return symbols, lots.pop()

    def _kite_rows(self) -> csv.DictReader[str]:
        answer = self.session.get(f"{self.kite}/instruments/NFO", timeout=TIMEOUT)
        return csv.DictReader(io.StringIO(answer.text))

    def _noren_rows(self) -> csv.DictReader[str]:
        answer = self.session.get(f"{self.noren}/NFO_symbols.txt.zip", timeout=TIMEOUT)
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            text = archive.read(archive.namelist()[0]).decode()
        return csv.DictReader(io.StringIO(text))


def log_in(session: requests.Session, login_url: str, client_id: str) -> tuple[str, str]:
    """Log in on a broker's login page as a person does; returns the redirect's code and target.

    The redirect is not followed: its address is what the partner's page would be called with.
    """
    answer = session.get(login_url, timeout=TIMEOUT)
    page = Page(answer.url, answer.text)
    form = page.form_with("user_id", "password")
    form.set("user_id", client_id)
    form.set("password", "not-checked-here")
    url = urljoin(page.url, form.action or page.url)
    answer = session.request(
        form.method, url, data=form.data(), timeout=TIMEOUT, allow_redirects=False
    )
    target = answer.headers.get("Location", "")
    query = parse_qs(urlsplit(target).query)
    codes = query.get("request_token") or query.get("code")
    if answer.status_code != 302 or not codes:
        raise PageError(f"the login page of {client_id}'s broker answered {answer.status_code}")
    return codes[0], target
