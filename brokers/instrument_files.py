"""Lines of an instrument file: plain, gzipped or zipped, on disk or at a URL."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from brokers.base import HttpRequest
from brokers.errors import InstrumentFileError
from brokers.transport_sync import Limits, TransportError, send

#: Kite's whole dump is about 10 MB, a Noren master less.
_DOWNLOAD: Final = Limits(connect=10.0, read=120.0, max_bytes=128 * 1024 * 1024)
#: A larger unpacked text is a malicious archive.
MAX_CHARACTERS: Final = 512 * 1024 * 1024

#: Errors of unpacking a bad archive: broken, cut short, encrypted, unknown compression.
_DAMAGE: Final = (
    *(zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError),
    *(UnicodeDecodeError, NotImplementedError, RuntimeError),
)

_ZIP: Final = b"PK\x03\x04"
_GZIP: Final = b"\x1f\x8b"


@contextmanager
def open_file(path: Path) -> Iterator[Iterable[str]]:
    """The lines of a file on disk; InstrumentFileError if it cannot be read."""
    try:
        with path.open("rb") as raw, _lines(raw) as lines:
            yield lines
    except OSError as error:
        raise InstrumentFileError(f"{path.name} cannot be read: {error.strerror}") from error


@contextmanager
def open_url(url: str) -> Iterator[Iterable[str]]:
    """The lines of a file at an http(s) URL; InstrumentFileError if it cannot be fetched."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InstrumentFileError("The address must begin with http:// or https://")
    path = parts.path or "/"
    request = HttpRequest("GET", f"{path}?{parts.query}" if parts.query else path)
    try:
        answer = send(request, base_url=f"{parts.scheme}://{parts.netloc}", limits=_DOWNLOAD)
    except TransportError as error:
        raise InstrumentFileError(f"{parts.netloc} did not answer: {error.message}") from error
    if answer.status != 200:
        raise InstrumentFileError(f"{parts.netloc} answered HTTP {answer.status}")
    with _lines(io.BytesIO(answer.body)) as lines:
        yield lines


@contextmanager
def _lines(raw: IO[bytes]) -> Iterator[Iterable[str]]:
    """The lines, unpacked according to the first bytes, not the name."""
    try:
        with _unpacked(raw) as text:
            yield _bounded(text)
    except _DAMAGE as error:
        raise InstrumentFileError(
            "The file is damaged or was cut short; download it again"
        ) from error


@contextmanager
def _unpacked(raw: IO[bytes]) -> Iterator[IO[str]]:
    start = raw.read(4)
    raw.seek(0)
    if start == _ZIP:
        with zipfile.ZipFile(raw) as archive:
            names = [name for name in archive.namelist() if name.endswith((".txt", ".csv"))]
            if len(names) != 1:
                raise InstrumentFileError("The archive must hold exactly one .txt or .csv file")
            with (
                archive.open(names[0]) as member,
                io.TextIOWrapper(member, "utf-8-sig", newline="") as text,
            ):
                yield text
    elif start.startswith(_GZIP):
        with gzip.open(raw, "rt", encoding="utf-8-sig", newline="") as text:
            yield text
    else:
        with io.TextIOWrapper(raw, "utf-8-sig", newline="") as text:
            yield text


def _bounded(text: IO[str]) -> Iterator[str]:
    seen = 0
    for line in text:
        seen += len(line)
        if seen > MAX_CHARACTERS:
            raise InstrumentFileError("The file is absurdly large")
        yield line
