"""The text of a PDF as a reader sees it."""

from __future__ import annotations

import io

from pypdf import PdfReader


def pages(document: bytes) -> list[str]:
    """The text of each page, white space evened out."""
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(document)).pages]


def text(document: bytes) -> str:
    return " ".join(pages(document))
