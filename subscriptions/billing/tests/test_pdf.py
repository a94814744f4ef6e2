"""What is on a document, and that nothing but its snapshot decides it."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from subscriptions.billing.invoicing import pdf
from subscriptions.billing.invoicing.formatting import amount, lines_of, plain, rate
from subscriptions.billing.tests.pdftext import pages, text
from subscriptions.billing.tests.samples import credit_note_snapshot, invoice_snapshot


def font_names(document: bytes) -> list[str]:
    """The fonts of the first page, each of which must be in the document."""
    page: Any = PdfReader(io.BytesIO(document)).pages[0]
    names = []
    for reference in page["/Resources"]["/Font"].values():
        descriptor = reference.get_object()["/DescendantFonts"][0]["/FontDescriptor"]
        assert {"/FontFile2", "/FontFile3"} & set(descriptor)
        names.append(str(descriptor["/FontName"]))
    return names


COMMON = (
    "TAX INVOICE",
    "QuantLeap Technologies Private Limited 4th Floor, 12 Cathedral Road Chennai 600086",
    "GSTIN: 33AAACQ4821D1ZK",
    "State: Tamil Nadu (code 33)",
    "Invoice number QL26-00000123",
    "Invoice date 5 Nov 2026",
    "Due date 12 Nov 2026",
    "Reverse charge No",
    "Through Zebu Share and Wealth Managements",
    "How to pay Bank transfer: account 000000123456, IFSC DEMO0000123 Please pay by 12 Nov 2026 "
    "and quote QL26-00000123.",
    "Bill to Asha Raghunathan asha@example.com Customer: usr_8Jk2mQ7pZr4tVx1c",
    "GSTIN: not registered",
    "Nifty Iron Condor, monthly subscription Period: 1 Nov 2026 to 30 Nov 2026 997331 1 999.00",
    "HSN/SAC",
    "Taxable value 999.00",
    "Rupees One Thousand One Hundred Seventy-Eight and Eighty-Two Paise Only",
    "Total payable ₹ 1,178.82",
    "Authorised signatory",
    "Page 1 of 1",
)


def test_intra_state_invoice_has_every_field_of_rule_46() -> None:
    shown = text(pdf.render_invoice(invoice_snapshot()))
    missing = [field for field in COMMON if field not in shown]
    assert missing == []
    assert "Place of supply Tamil Nadu (code 33)" in shown
    assert "CGST SGST" in shown
    assert "997331 999.00 9 % 89.91 9 % 89.91 179.82" in shown
    assert "CGST at 9 % 89.91 SGST at 9 % 89.91" in shown
    assert "IGST" not in shown


def test_inter_state_invoice_has_every_field_of_rule_46() -> None:
    shown = text(pdf.render_invoice(invoice_snapshot(intra=False)))
    missing = [field for field in COMMON if field not in shown]
    assert missing == []
    assert "Place of supply Karnataka (code 29)" in shown
    assert "State: Karnataka (code 29)" in shown
    assert "997331 999.00 18 % 179.82 179.82" in shown
    assert "IGST at 18 % 179.82" in shown
    assert "CGST" not in shown
    assert "SGST" not in shown


@pytest.mark.parametrize("intra", [True, False])
def test_credit_note_has_every_field_of_rule_53(intra: bool) -> None:
    shown = text(pdf.render_credit_note(credit_note_snapshot(intra=intra)))
    for field in (
        "CREDIT NOTE",
        "Credit note number QC26-00000007",
        "Credit note date 20 Nov 2026",
        "Against invoice QL26-00000123",
        "Invoice date 5 Nov 2026",
        "Credit on invoice QL26-00000123 of 5 Nov 2026",
        "Reason: The strategy was withdrawn",
        "Total credited ₹ 1,178.82",
        "CGST at 9 % 89.91 SGST at 9 % 89.91" if intra else "IGST at 18 % 179.82",
        "Authorised signatory",
    ):
        assert field in shown


def test_same_snapshot_same_bytes() -> None:
    assert pdf.render_invoice(invoice_snapshot()) == pdf.render_invoice(invoice_snapshot())
    assert pdf.render_credit_note(credit_note_snapshot()) == pdf.render_credit_note(
        credit_note_snapshot()
    )


def test_creation_date_is_the_date_of_issue() -> None:
    metadata = PdfReader(io.BytesIO(pdf.render_invoice(invoice_snapshot()))).metadata
    assert metadata is not None
    assert {str(metadata[name]) for name in ("/CreationDate", "/ModDate")} == {"D:20261105000000Z"}
    assert metadata.title == "Tax invoice QL26-00000123"


def test_every_font_is_embedded() -> None:
    names = font_names(pdf.render_invoice(invoice_snapshot()))
    assert names
    assert all("Libertinus" in name for name in names)


@pytest.mark.parametrize(
    "markup",
    [
        "#panic()",
        '#read("/etc/passwd")',
        "*bold* _it_",
        "= Heading",
        "$x^2$ @ref <label>",
        "#set text(red)",
        "\\u{41} // note",
        '"}; #eval("1")',
        "{{ number }}",
    ],
)
def test_markup_in_a_name_stays_text(markup: str) -> None:
    snapshot = invoice_snapshot()
    snapshot["customer"]["name"] = markup
    snapshot["customer"]["address"] = markup
    snapshot["lines"][0]["description"] = markup
    shown = text(pdf.render_invoice(snapshot))
    assert shown.count(markup) == 3
    assert "Total payable ₹ 1,178.82" in shown


def test_control_markup_is_executed_where_it_is_code() -> None:
    """Shows that the markup above is live: typst stops at it when it is part of a template."""
    import typst

    with pytest.raises(typst.TypstError, match="panicked"):
        typst.compile(b"#panic()", format="pdf")


@given(name=st.text(max_size=120), line=st.text(max_size=200))
@settings(max_examples=25, deadline=None)
def test_no_text_stops_a_document(name: str, line: str) -> None:
    snapshot = invoice_snapshot()
    snapshot["customer"]["name"] = name
    snapshot["lines"][0]["description"] = line
    document = pdf.render_invoice(snapshot)
    assert document == pdf.render_invoice(snapshot)
    assert "QL26-00000123" in text(document)


def typeset(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each try of the documents to come was for an archive (PDF/A)."""
    tries: list[bool] = []
    real = pdf._typeset

    def recorded(document: Any, *, archivable: bool) -> bytes:
        tries.append(archivable)
        return real(document, archivable=archivable)

    monkeypatch.setattr(pdf, "_typeset", recorded)
    return tries


@pytest.mark.parametrize("name", ["🙂 Asha", "明日香"])
def test_a_script_without_a_font_still_makes_a_document(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = typeset(monkeypatch)
    snapshot = invoice_snapshot()
    snapshot["customer"]["name"] = name
    assert "asha@example.com" in text(pdf.render_invoice(snapshot))
    assert tries == [True, False]


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("Devanagari", "विक्रमादित्य चन्द्रशेखर अय्यर"), ("Bengali", "ঐশ্বর্যা মুখোপাধ্যায়"),
        ("Gujarati", "જ્યોતિ પ્રજાપતિ"), ("Gurmukhi", "ਹਰਪ੍ਰੀਤ ਸਿੰਘ"), ("Kannada", "ಲಕ್ಷ್ಮೀ ಕೃಷ್ಣಮೂರ್ತಿ"),
        ("Malayalam", "ലക്ഷ്മി കൃഷ്ണൻ"), ("Odia", "ଜ୍ୟୋତ୍ସ୍ନା ମିଶ୍ର"), ("Tamil", "ஐஸ்வர்யா ரகுநாதன்"),
        ("Telugu", "శ్రీనివాస కృష్ణ"),
    ],
)  # fmt: skip
def test_a_name_in_a_script_of_india_is_set_in_its_font(
    script: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = typeset(monkeypatch)
    snapshot = invoice_snapshot()
    snapshot["customer"]["name"] = name
    document = pdf.render_invoice(snapshot)
    assert tries == [True], "PDF/A at once: every character has a glyph"
    assert any(f"Lohit-{script}" in font for font in font_names(document))
    assert document == pdf.render_invoice(snapshot)


def test_a_long_word_breaks_and_is_copied_as_it_is() -> None:
    snapshot = invoice_snapshot()
    address = f"{'a-very-long' * 3}{'address' * 6}@{'company' * 5}.example.com"
    snapshot["customer"]["name"] = "W" * 120
    snapshot["customer"]["email"] = address
    page = PdfReader(io.BytesIO(pdf.render_invoice(snapshot))).pages[0]
    shown = page.extract_text()
    assert "\u200b" not in shown
    assert "".join(shown.split()).count("W" * 120 + address) == 1
    assert max(len(line) for line in shown.splitlines() if line.startswith("WW")) < 40


def test_an_older_snapshot_is_set_as_it_was_then() -> None:
    """An old snapshot has no channel and no payment details, and the invoice shows neither."""
    old = invoice_snapshot()
    del old["channel"]
    del old["supplier"]["payment_details"]
    shown = text(pdf.render_invoice(old))
    assert "Through" not in shown
    assert "How to pay" not in shown
    assert pdf.render_invoice(invoice_snapshot(channel=None)) != pdf.render_invoice(old)
    assert "Through" not in text(pdf.render_invoice(invoice_snapshot(channel=None)))


def test_a_nameless_customer_is_called_by_his_address() -> None:
    snapshot = invoice_snapshot()
    snapshot["customer"]["name"] = " \u200b\n"
    assert "Bill to asha@example.com Customer:" in text(pdf.render_invoice(snapshot))


def test_registered_recipient_with_address() -> None:
    snapshot = invoice_snapshot(intra=False)
    snapshot["customer"]["address"] = "Flat 1203, Tower B\n\nBengaluru 560048"
    snapshot["customer"]["gstin"] = "29AAACQ4821D1ZK"
    shown = text(pdf.render_invoice(snapshot))
    assert "Flat 1203, Tower B Bengaluru 560048" in shown
    assert "GSTIN: 29AAACQ4821D1ZK" in shown


def test_a_second_page_repeats_the_head_of_the_table() -> None:
    """The total stands on the last page only."""
    first, second = pages(pdf.render_invoice(invoice_snapshot(lines=22)))
    assert "No. Description HSN/SAC" in first
    assert "No. Description HSN/SAC" in second
    assert "Total payable" not in first
    assert "Total payable ₹ 25,934.04" in second
    assert "Page 1 of 2" in first
    assert "Tax invoice QL26-00000123" in second


def test_union_territory_takes_utgst() -> None:
    snapshot = invoice_snapshot()
    snapshot["supplier"] |= {"state_code": "04", "state_name": "Chandigarh"}
    snapshot["place_of_supply"] = {"code": "04", "name": "Chandigarh"}
    assert "UTGST at 9 % 89.91" in text(pdf.render_invoice(snapshot))


def test_unknown_snapshot_is_refused() -> None:
    with pytest.raises(pdf.UnknownSnapshot):
        pdf.render_invoice(invoice_snapshot(version=2))


@pytest.mark.parametrize(
    ("rupees", "shown"),
    [
        ("0.00", "0.00"),
        ("999.5", "999.50"),
        ("1178.82", "1,178.82"),
        ("117882.00", "1,17,882.00"),
        ("10000000.00", "1,00,00,000.00"),
    ],
)
def test_amounts_are_grouped_as_in_india(rupees: str, shown: str) -> None:
    assert amount(rupees) == shown


def test_texts() -> None:
    assert plain("A\u202eB\n\tC\u200b D\x00") == "AB C D"
    assert lines_of("one\n \n two ") == ["one", "two"]
    assert [rate(Decimal(percent)) for percent in ("9.000", "2.5", "18", "0", "10.00")] == [
        "9 %",
        "2.5 %",
        "18 %",
        "0 %",
        "10 %",
    ]
