"""GST state codes (the first two digits of a GSTIN) that a recipient can have, by date. Pure.

Source: the state codes of the GST portal and the e-way bill system, and the Acts that changed them
since GST began on 1 July 2017: Jammu and Kashmir Reorganisation Act 2019 (31 Oct 2019), Dadra and
Nagar Haveli and Daman and Diu (Merger of Union Territories) Act 2019 (26 Jan 2020).
https://docs.ewaybillgst.gov.in/apidocs/master-codes-list.html

No recipient has these: 28 (Andhra Pradesh before its division in 2014, now 37), 96 (abroad), 99
(the Centre's own jurisdiction), 00.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final, NamedTuple

_GST: Final = dt.date(2017, 7, 1)
_LADAKH: Final = dt.date(2019, 10, 31)
_MERGED: Final = dt.date(2020, 1, 26)
_DAY: Final = dt.timedelta(days=1)
_DIGITS: Final = 2
#: The spelling of a code; the database accepts nothing else (adr 0055).
WRITTEN: Final = r"^([0-9]{2})?$"


class State(NamedTuple):
    """A code with its name on an invoice, from ``first`` to ``last`` (IST, both included)."""

    code: str
    name: str
    first: dt.date = _GST
    last: dt.date = dt.date.max


#: Every code and name that was ever a recipient's, by code.
STATES: Final = (
    State("01", "Jammu and Kashmir"),
    State("02", "Himachal Pradesh"),
    State("03", "Punjab"),
    State("04", "Chandigarh"),
    State("05", "Uttarakhand"),
    State("06", "Haryana"),
    State("07", "Delhi"),
    State("08", "Rajasthan"),
    State("09", "Uttar Pradesh"),
    State("10", "Bihar"),
    State("11", "Sikkim"),
    State("12", "Arunachal Pradesh"),
    State("13", "Nagaland"),
    State("14", "Manipur"),
    State("15", "Mizoram"),
    State("16", "Tripura"),
    State("17", "Meghalaya"),
    State("18", "Assam"),
    State("19", "West Bengal"),
    State("20", "Jharkhand"),
    State("21", "Odisha"),
    State("22", "Chhattisgarh"),
    State("23", "Madhya Pradesh"),
    State("24", "Gujarat"),
    State("25", "Daman and Diu", last=_MERGED - _DAY),
    State("26", "Dadra and Nagar Haveli", last=_MERGED - _DAY),
    State("26", "Dadra and Nagar Haveli and Daman and Diu", _MERGED),
    State("27", "Maharashtra"),
    State("29", "Karnataka"),
    State("30", "Goa"),
    State("31", "Lakshadweep"),
    State("32", "Kerala"),
    State("33", "Tamil Nadu"),
    State("34", "Puducherry"),
    State("35", "Andaman and Nicobar Islands"),
    State("36", "Telangana"),
    State("37", "Andhra Pradesh"),
    State("38", "Ladakh", _LADAKH),
    State("97", "Other Territory"),
)

_WHY_NOT: Final[Mapping[str, str]] = {
    "25": "Daman and Diu is 26 since 26 Jan 2020",
    "28": "Andhra Pradesh is 37",
    "96": "it stands for other countries",
    "99": "it is the Centre's jurisdiction, not a state",
}


def in_force(day: dt.date) -> dict[str, str]:
    """Codes that a recipient can have on ``day`` (IST), with their names, by code."""
    return {state.code: state.name for state in STATES if state.first <= day <= state.last}


def name_of(code: str) -> str:
    """The newest name of a code, whenever it was in force; the code itself if it is unknown."""
    return {state.code: state.name for state in STATES}.get(code, code)


def place_of_supply(day: dt.date, *, state: str, gstin: str = "") -> str | None:
    """Code of the place of supply to a customer on ``day`` (IST); None if it is unknown.

    IGST Act, section 12(2), https://cbic-gst.gov.in/gst-acts.html: for a registered recipient the
    state of registration (``gstin`` begins with it), for anybody else the address on record; for
    every online service the supplier must keep the ``state`` on record (CBIC circular
    242/36/2024-GST). None if there is no state, or its code is not in force: the function never
    guesses, and never uses somebody else's state (adr 0055).
    """
    code = gstin[:_DIGITS] if gstin else state
    return code if code in in_force(day) else None


def refusal(code: str, day: dt.date) -> str:
    """Why ``code`` cannot be a recipient's state on ``day``, with the codes that can; '' if it
    can."""
    known = in_force(day)
    if code in known:
        return ""
    why = f" ({_WHY_NOT[code]})" if code in _WHY_NOT else ""
    listed = ", ".join(f"{number} {name}" for number, name in known.items())
    return f"Not a GST state code in force{why}. One of: {listed}."
