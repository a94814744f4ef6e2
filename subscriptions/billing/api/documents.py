"""PDF responses. Errors are the API's JSON, whatever the ``Accept`` header says."""

from __future__ import annotations

from django.http import HttpResponse


def pdf_response(name: str, content: bytes) -> HttpResponse:
    """``name``.pdf as a download that shared caches do not store."""
    return HttpResponse(
        content,
        content_type="application/pdf",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.pdf"',
            "Cache-Control": "private, no-cache",
        },
    )
