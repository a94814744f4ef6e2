"""Documents over HTTP: PDF where all goes well, the API's JSON errors where not, whatever the
``Accept`` header says."""

from __future__ import annotations

from django.http import HttpResponse


def pdf_response(name: str, content: bytes) -> HttpResponse:
    """``name``.pdf as a download that no shared cache keeps."""
    return HttpResponse(
        content,
        content_type="application/pdf",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.pdf"',
            "Cache-Control": "private, no-cache",
        },
    )
