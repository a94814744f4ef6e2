"""Small files of a local installation below ``var/run``: first credentials, the welcome text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from quantleap.embedded.state import default_base_dir


def run_folder() -> Path:
    """``var/run`` of this installation, created if missing, accessible to its owner only."""
    folder = default_base_dir() / "run"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write_private(name: str, text: str) -> Path:
    """Write a file that only its owner can read; it appears whole or not at all."""
    path = run_folder() / name
    draft = path.with_name(f".{name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)
    return path


def read_json(name: str) -> dict[str, Any]:
    """The content of one of our files; empty if it is missing or is no longer ours."""
    try:
        content = json.loads((run_folder() / name).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(name: str, values: dict[str, Any]) -> Path:
    """Store ``values`` in a private file."""
    return write_private(name, json.dumps(values, indent=2) + "\n")
