"""The same Kite order for both baselines, without any code of the engine."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

PATH: Final = "/orders/regular"


def headers(account: str) -> dict[str, str]:
    """Headers of one account's calls."""
    return {
        "X-Kite-Version": "3",
        "Authorization": f"token apikey:{account}",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def form(number: int) -> dict[str, str]:
    """One order's form; ``number`` makes its tag."""
    return {
        "variety": "regular",
        "exchange": "NFO",
        "tradingsymbol": "NIFTY26080425200CE",
        "transaction_type": "SELL",
        "quantity": "65",
        "product": "MIS",
        "order_type": "LIMIT",
        "validity": "DAY",
        "price": "97.5",
        "tag": f"B{number:012d}1",
    }


def raw(host: str, account: str, number: int) -> bytes:
    """One order's HTTP request as bytes."""
    body = urlencode(form(number)).encode()
    lines = [f"POST {PATH} HTTP/1.1", f"Host: {host}"]
    lines.extend(f"{name}: {value}" for name, value in headers(account).items())
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
