"""Keys of a local installation: created once, stored under ``var/`` with mode 0600."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalKeys:
    """Django's secret key and the field-encryption key ring."""

    secret_key: str
    encryption_keys: str


def local_keys(folder: Path) -> LocalKeys:
    """Read ``keys.json`` in ``folder``, creating it first if it is missing.

    Two processes may start at once: the file appears whole (link of a finished temporary file), and
    the second process reads the first one's keys.
    """
    path = folder / "keys.json"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = {
            "secret_key": secrets.token_urlsafe(48),
            "encryption_keys": "local:" + base64.b64encode(os.urandom(32)).decode(),
        }
        draft = folder / f".keys.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(fresh, file)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    stored = json.loads(path.read_text())
    return LocalKeys(stored["secret_key"], stored["encryption_keys"])
