"""Documents made by typst from a stored snapshot alone. Pure: same snapshot, same bytes.

The template is ``templates/invoice.typ``. Texts reach it as JSON values and are never parsed as
markup. The creation date is the date of issue; fonts are those inside typst and those beside the
template, never the machine's.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import typst

from subscriptions.billing.invoicing.formatting import amount, day, lines_of, plain, rate
from subscriptions.billing.invoicing.snapshots import (
    VERSION,
    CreditNoteSnapshot,
    InvoiceSnapshot,
    Place,
)

TEMPLATE: Final = Path(__file__).resolve().parents[1] / "templates" / "invoice.typ"
#: Fonts for Indian scripts for which typst has none, or none that joins letters.
FONTS: Final = TEMPLATE.parent / "fonts"
# ISO 19005-2, for archiving; its text can be searched and copied.
_ARCHIVABLE: Final = "a-2u"
_HALF: Final = 2
# Union territories without a legislature: their half of the tax is UTGST (UTGST Act 2017).
_UNION_TERRITORIES: Final = frozenset({"04", "26", "31", "35", "38"})


# The recipient must not reverse input tax for it, and our returns do not show it.
_FINANCIAL: Final = (
    "Financial credit without GST: issued after {}, the last day on which\n"
    "section 34(2) of the CGST Act lets a credit note reduce output tax. The tax of the\n"
    "invoice is not reduced; no input tax credit is to be reversed for this note."
)


class UnknownSnapshot(ValueError):
    """The snapshot has a version that this code does not know."""


@functools.cache
def renderer() -> str:
    """Identifies what determines the bytes: typst's version, a hash of template and fonts."""
    sources = (TEMPLATE, *sorted(FONTS.glob("*.ttf")))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    return f"typst {version('typst')}, invoice.typ {digest}"


@functools.cache
def fonts() -> typst.Fonts:
    """The fonts, read once; never the machine's."""
    return typst.Fonts(include_system_fonts=False, font_paths=[str(FONTS)])


def render_invoice(snapshot: InvoiceSnapshot) -> bytes:
    """The tax invoice (Rule 46) as PDF. Raises UnknownSnapshot."""
    document = _common("Tax invoice", snapshot)
    document["lines"] = [
        {
            "place": str(place),
            "description": plain(line["description"]),
            "note": f"Period: {day(line['period_start'])} to {day(line['period_last'])}",
            "sac": line["sac"],
            "quantity": str(line["quantity"]),
            "taxable": amount(line["taxable"]),
        }
        for place, line in enumerate(snapshot["lines"], start=1)
    ]
    document["tax"]["sac"] = ", ".join(dict.fromkeys(line["sac"] for line in snapshot["lines"]))
    document["particulars"] = [
        ("Invoice number", snapshot["number"]),
        ("Invoice date", day(snapshot["issued_on"])),
        ("Due date", day(snapshot["due_on"])),
        ("Place of supply", _place(snapshot["place_of_supply"])),
        ("Reverse charge", "Yes" if snapshot["reverse_charge"] else "No"),
        ("Subscription", snapshot["subscription"]),
        *_channel(snapshot),
    ]
    document["total"] = {"name": "Total payable", "value": amount(snapshot["total"], "₹ ")}
    document["words"] = {"name": "Total in words", "value": snapshot["in_words"]}
    document["payment"] = lines_of(snapshot["supplier"].get("payment_details", ""))
    document["notes"] = [
        f"Please pay by {day(snapshot['due_on'])} and quote {snapshot['number']}.",
        "All amounts are in Indian rupees (INR).",
        f"Questions: {plain(snapshot['supplier']['email'])}",
    ]
    return _compile(document)


def render_credit_note(snapshot: CreditNoteSnapshot) -> bytes:
    """The credit note (Rule 53 of the CGST Rules, 2017) as PDF; a financial one says so.

    Raises UnknownSnapshot.
    """
    ended = snapshot.get("tax_ended_on")
    document = _common("Financial credit note" if ended else "Credit note", snapshot)
    against = f"{snapshot['invoice_number']} of {day(snapshot['invoice_issued_on'])}"
    document["lines"] = [
        {
            "place": "1",
            "description": f"{plain(snapshot['template'])}, monthly subscription",
            "note": f"Credit on invoice {against}",
            "sac": snapshot["sac"],
            "quantity": "1",
            "taxable": amount(snapshot["total" if ended else "taxable"]),
        }
    ]
    document["tax"]["sac"] = snapshot["sac"]
    if ended:
        document["tax"]["taxable"] = amount("0.00")
        document["sums"] = [("Credited without tax", amount(snapshot["total"]))]
    document["particulars"] = [
        ("Credit note number", snapshot["number"]),
        ("Credit note date", day(snapshot["issued_on"])),
        ("Against invoice", snapshot["invoice_number"]),
        ("Invoice date", day(snapshot["invoice_issued_on"])),
        ("Place of supply", _place(snapshot["place_of_supply"])),
        ("Reverse charge", "No"),
        ("Subscription", snapshot["subscription"]),
        *_channel(snapshot),
    ]
    document["total"] = {"name": "Total credited", "value": amount(snapshot["total"], "₹ ")}
    document["words"] = {"name": "Total in words", "value": snapshot["in_words"]}
    document["payment"] = []
    document["notes"] = [
        f"Reason: {plain(snapshot['reason'])}",
        *(_FINANCIAL.format(day(ended)).splitlines() if ended else ()),
        "All amounts are in Indian rupees (INR).",
        f"Questions: {plain(snapshot['supplier']['email'])}",
    ]
    return _compile(document)


def _common(title: str, snapshot: InvoiceSnapshot | CreditNoteSnapshot) -> dict[str, Any]:
    """The parts that both kinds share, as formatted texts."""
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
            "name": plain(supplier["legal_name"]),
            "lines": [
                *lines_of(supplier["address"]),
                f"GSTIN: {supplier['gstin']}",
                f"State: {supplier['state_name']} (code {supplier['state_code']})",
            ],
        },
        "customer": _customer(snapshot),
        "tax": tax,
        "sums": [
            ("Taxable value", tax["taxable"]),
            *((f"{kind['name']} at {kind['rate']}", kind["amount"]) for kind in tax["kinds"]),
        ],
    }


def _customer(snapshot: InvoiceSnapshot | CreditNoteSnapshot) -> dict[str, Any]:
    """The recipient; without a name, their e-mail address."""
    customer = snapshot["customer"]
    name, email = plain(customer["name"]), plain(customer["email"])
    gstin = customer.get("gstin", "")
    return {
        "name": name or email,
        "lines": [
            *lines_of(customer.get("address", "")),
            *([email] if name else []),
            f"Customer: {customer['id']}",
            f"GSTIN: {gstin or 'not registered'}",
            f"State: {customer['state_name']} (code {customer['state_code']})",
        ],
    }


def _tax(snapshot: InvoiceSnapshot | CreditNoteSnapshot) -> dict[str, Any]:
    """CGST and SGST at half the rate each, or IGST; a rate of 0 shows as the kind that applies."""
    percent = Decimal(snapshot["rate_pct"])
    state = snapshot["supplier"]["state_code"]
    local = "UTGST" if state in _UNION_TERRITORIES else "SGST"
    intra = state == snapshot["place_of_supply"]["code"]
    half, whole = rate(percent / _HALF), rate(percent)
    kinds = (
        [("CGST", half, snapshot["cgst"]), (local, half, snapshot["sgst"])]
        if intra
        else [("IGST", whole, snapshot["igst"])]
    )
    total = sum((Decimal(rupees) for _, _, rupees in kinds), Decimal("0.00"))
    return {
        "taxable": amount(snapshot["taxable"]),
        "kinds": [
            {"name": name, "rate": shown, "amount": amount(rupees)} for name, shown, rupees in kinds
        ],
        "total": amount(str(total)),
    }


def _compile(document: Mapping[str, Any]) -> bytes:
    """PDF/A-2u, or plain PDF if a name has characters that no available font can show."""
    try:
        return _typeset(document, archivable=True)
    except typst.TypstError:
        # They appear as boxes. An error in the template itself is raised again.
        return _typeset(document, archivable=False)


def _typeset(document: Mapping[str, Any], *, archivable: bool) -> bytes:
    date = document["date"]
    pdf: bytes = typst.compile(
        str(TEMPLATE),
        root=str(TEMPLATE.parent),
        font_paths=fonts(),
        sys_inputs={"document": json.dumps(document, ensure_ascii=False)},
        timestamp=dt.datetime(date["year"], date["month"], date["day"], tzinfo=dt.UTC),
        pdf_standards=[_ARCHIVABLE] if archivable else [],
    )
    return pdf


def _channel(snapshot: InvoiceSnapshot | CreditNoteSnapshot) -> list[tuple[str, str]]:
    """The partner through whom the customer came; empty for a direct customer."""
    name = plain(snapshot.get("channel") or "")
    return [("Through", name)] if name else []


def _place(place: Place) -> str:
    return f"{place['name']} (code {place['code']})"
