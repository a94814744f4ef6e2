"""Documents by typst, from a stored snapshot and nothing else. Pure: same snapshot, same bytes.

The template is ``templates/invoice.typ``. Texts reach it as JSON values and stay texts, whatever
markup they hold; the creation date is the date of issue; fonts are those inside typst, never the
machine's.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import typst

from subscriptions.billing.snapshots import VERSION, CreditNoteSnapshot, InvoiceSnapshot

TEMPLATE: Final = Path(__file__).resolve().parent / "templates" / "invoice.typ"
# ISO 19005-2, for keeping; its text can be searched and copied.
_STANDARDS: Final = ["a-2u"]
_HALF: Final = 2
# Where the state's half is that of a union territory without a legislature (UTGST Act 2017).
_UNION_TERRITORIES: Final = frozenset({"04", "26", "31", "35", "38"})
# Joiners shape Indian scripts; every other invisible character could only mislead a reader.
_JOINERS: Final = "\u200c\u200d"


class UnknownSnapshot(ValueError):
    """A snapshot of a version that this code does not know."""


@functools.cache
def renderer() -> str:
    """What makes the bytes: typst's version and the template's fingerprint."""
    digest = hashlib.sha256(TEMPLATE.read_bytes()).hexdigest()[:12]
    return f"typst {typst.__version__}, invoice.typ {digest}"


def render_invoice(snapshot: InvoiceSnapshot) -> bytes:
    """The tax invoice (Rule 46) as PDF. UnknownSnapshot."""
    document = _common("Tax invoice", snapshot)
    document["particulars"] = [
        ("Invoice number", snapshot["number"]),
        ("Invoice date", _date(snapshot["issued_on"])),
        ("Due date", _date(snapshot["due_on"])),
        ("Place of supply", _place(snapshot["place_of_supply"])),
        ("Reverse charge", "Yes" if snapshot["reverse_charge"] else "No"),
        ("Subscription", snapshot["subscription"]),
    ]
    document["total"] = {"name": "Total payable", "value": _amount(snapshot["total"], "₹ ")}
    document["words"] = {"name": "Total in words", "value": snapshot["in_words"]}
    document["notes"] = [
        f"Please pay by {_date(snapshot['due_on'])} and quote {snapshot['number']}.",
        "All amounts are in Indian rupees (INR).",
        f"Questions: {_plain(snapshot['supplier']['email'])}",
    ]
    return _compile(document)


def render_credit_note(snapshot: CreditNoteSnapshot) -> bytes:
    """The credit note (section 34, Rule 53) as PDF. UnknownSnapshot."""
    document = _common("Credit note", snapshot)
    against = snapshot["against"]
    document["particulars"] = [
        ("Credit note number", snapshot["number"]),
        ("Credit note date", _date(snapshot["issued_on"])),
        ("Against invoice", against["number"]),
        ("Invoice date", _date(against["issued_on"])),
        ("Place of supply", _place(snapshot["place_of_supply"])),
        ("Reverse charge", "Yes" if snapshot["reverse_charge"] else "No"),
        ("Subscription", snapshot["subscription"]),
    ]
    document["total"] = {"name": "Total credited", "value": _amount(snapshot["total"], "₹ ")}
    document["words"] = {"name": "Total in words", "value": snapshot["in_words"]}
    document["notes"] = [
        f"Reason: {_plain(snapshot['reason'])}",
        "All amounts are in Indian rupees (INR).",
        f"Questions: {_plain(snapshot['supplier']['email'])}",
    ]
    return _compile(document)


def _common(title: str, snapshot: InvoiceSnapshot | CreditNoteSnapshot) -> dict[str, Any]:
    """What both kinds show alike, as texts ready to be set."""
    if snapshot["version"] != VERSION:
        raise UnknownSnapshot(f"snapshot version {snapshot['version']!r}")
    issued = dt.date.fromisoformat(snapshot["issued_on"])
    supplier = snapshot["supplier"]
    tax = _tax(snapshot)
    return {
        "title": title,
        "copy": "Original for recipient",
        "number": snapshot["number"],
        "date": {"year": issued.year, "month": issued.month, "day": issued.day},
        "supplier": {
            "name": _plain(supplier["legal_name"]),
            "lines": [
                *_address(supplier["address"]),
                f"GSTIN: {supplier['gstin']}",
                f"State: {supplier['state_name']} (code {supplier['state_code']})",
            ],
        },
        "customer": _customer(snapshot),
        "lines": [
            {
                "place": str(place),
                "description": _plain(line["description"]),
                "period": f"Period: {_date(line['period_start'])} to {_date(line['period_last'])}",
                "sac": line["sac"],
                "quantity": str(line["quantity"]),
                "taxable": _amount(line["taxable"]),
            }
            for place, line in enumerate(snapshot["lines"], start=1)
        ],
        "tax": tax,
        "sums": [
            ("Taxable value", tax["taxable"]),
            *((f"{kind['name']} at {kind['rate']}", kind["amount"]) for kind in tax["kinds"]),
        ],
    }


def _customer(snapshot: InvoiceSnapshot | CreditNoteSnapshot) -> dict[str, Any]:
    """The recipient; one without a name is called by his e-mail address."""
    customer = snapshot["customer"]
    name, email = _plain(customer["name"]), _plain(customer["email"])
    gstin = customer.get("gstin", "")
    return {
        "name": name or email,
        "lines": [
            *_address(customer.get("address", "")),
            *([email] if name else []),
            f"Customer: {customer['id']}",
            f"GSTIN: {gstin or 'not registered'}",
            f"State: {customer['state_name']} (code {customer['state_code']})",
        ],
    }


def _tax(snapshot: InvoiceSnapshot | CreditNoteSnapshot) -> dict[str, Any]:
    """CGST and SGST at half the rate each, or IGST; a rate of 0 shows as the kind that applies."""
    rate = Decimal(snapshot["rate_pct"])
    state = snapshot["supplier"]["state_code"]
    local = "UTGST" if state in _UNION_TERRITORIES else "SGST"
    intra = state == snapshot["place_of_supply"]["code"]
    half, whole = _rate(rate / _HALF), _rate(rate)
    kinds = (
        [("CGST", half, snapshot["cgst"]), (local, half, snapshot["sgst"])]
        if intra
        else [("IGST", whole, snapshot["igst"])]
    )
    total = sum((Decimal(amount) for _, _, amount in kinds), Decimal("0.00"))
    return {
        "sac": ", ".join(dict.fromkeys(line["sac"] for line in snapshot["lines"])),
        "taxable": _amount(snapshot["taxable"]),
        "kinds": [
            {"name": name, "rate": shown, "amount": _amount(amount)}
            for name, shown, amount in kinds
        ],
        "total": _amount(str(total)),
    }


def _compile(document: Mapping[str, Any]) -> bytes:
    """PDF/A-2u; plain PDF where a name has characters that no font inside typst can show."""
    try:
        return _typeset(document, _STANDARDS)
    except typst.TypstError:
        # They become boxes. A fault of the template itself is raised again.
        return _typeset(document, [])


def _typeset(document: Mapping[str, Any], standards: list[str]) -> bytes:
    day = document["date"]
    made: bytes = typst.compile(
        str(TEMPLATE),
        root=str(TEMPLATE.parent),
        ignore_system_fonts=True,
        sys_inputs={"document": json.dumps(document, ensure_ascii=False)},
        timestamp=dt.datetime(day["year"], day["month"], day["day"], tzinfo=dt.UTC),
        pdf_standards=standards,
    )
    return made


# -- texts ---------------------------------------------------------------------------------------
def _plain(text: str) -> str:
    """One line without control or formatting characters: a name can turn no text around."""
    shown = "".join(
        one for one in text if one in _JOINERS or unicodedata.category(one)[0] != "C" or one.isspace()
    )
    return " ".join(shown.split())


def _address(text: str) -> list[str]:
    return [plain for plain in map(_plain, text.splitlines()) if plain]


def _date(day: str) -> str:
    """``2026-11-05`` as ``5 Nov 2026``."""
    date = dt.date.fromisoformat(day)
    return f"{date.day} {_MONTHS[date.month - 1]} {date.year}"


_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _place(place: Mapping[str, str]) -> str:
    return f"{place['name']} (code {place['code']})"


def _rate(rate: Decimal) -> str:
    """Percent without needless zeros: ``9 %``, ``2.5 %``."""
    text = f"{rate:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def _amount(rupees: str, sign: str = "") -> str:
    """Grouped as in India: ``1,17,882.00``."""
    whole, _, paise = f"{Decimal(rupees):.2f}".partition(".")
    head, tail = whole[:-3], whole[-3:]
    groups = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return f"{sign}{','.join([*groups, tail])}.{paise}"
