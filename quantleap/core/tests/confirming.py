"""What a person does at a page that asks: open it, answer it, and answer what it asks again."""

from __future__ import annotations

from typing import Any

from django.test import Client


def confirm(client: Client, url: str, data: dict[str, Any] | None = None, **options: Any) -> Any:
    """The answer of ``url`` to ``data``, posted with the seal of the page as it is now.

    With ``again=yes`` in it, the second page is answered too.
    """
    body = {"confirm": "yes", **(data or {})}
    again = body.pop("again", "") == "yes"
    asked = client.get(url)
    body["seal"] = seal_of(asked)
    answer = client.post(url, body, **options)
    if again and seal_of(answer) and answer.context["ask_again"]:
        answer = client.post(url, {**body, "again": "yes", "seal": seal_of(answer)}, **options)
    return answer


def seal_of(answer: Any) -> str:
    """The seal of a page; none where it is no page that asks."""
    context = answer.context
    return str(context["seal"]) if context is not None and "seal" in context else ""
