"""Mail on the console: the default until a provider is configured (docs/billing.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.mail import EmailMessage

if TYPE_CHECKING:
    # anymail ships no types; its backend is Django's with a provider's statuses
    from django.core.mail.backends.console import EmailBackend as _ConsoleBackend
else:
    from anymail.backends.console import EmailBackend as _ConsoleBackend


class ConsoleBackend(_ConsoleBackend):
    """anymail's, but an attachment is shown by name and size: nobody reads a PDF in base64."""

    def write_message(self, message: EmailMessage) -> None:
        """Head, text and what is attached."""
        head = {
            "From": message.from_email,
            "To": ", ".join(message.to),
            "Subject": message.subject,
            **message.extra_headers,
        }
        lines = [f"{name}: {value}" for name, value in head.items()]
        lines += ["", str(message.body).rstrip()]
        lines += [f"[{_attached(one)}]" for one in message.attachments]
        self.stream.write("\n".join(lines) + "\n" + "-" * 79 + "\n")


def _attached(attachment: Any) -> str:
    name, content, mimetype = attachment
    return f"{name}, {mimetype}, {len(content)} bytes"
