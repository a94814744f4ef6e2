"""The last day on which a credit note may reduce an invoice's tax. Pure."""

from __future__ import annotations

import datetime as dt
from typing import Final

_APRIL: Final = 4


def credit_deadline(invoiced_on: dt.date) -> dt.date:
    """The last day on which a credit note may reduce the output tax of an invoice.

    30 November after the financial year (April to March) of the supply: CGST Act, section 34(2),
    https://cbic-gst.gov.in/gst-acts.html. The law ends it earlier when the year's annual return is
    furnished before; that day is not known here.
    """
    ends = invoiced_on.year + (invoiced_on.month >= _APRIL)
    return dt.date(ends, 11, 30)
