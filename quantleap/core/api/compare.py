"""Compare two OpenAPI documents: ``python -m quantleap.core.api.compare OLD NEW``.

Paths, operation ids, parameters, bodies, status codes, headers and schemas count; summaries,
descriptions and tags do not. Exit status 0: no difference; 1: one line for each difference.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

#: Members that only people read.
TEXTS: Final = frozenset({"summary", "description", "tags"})
#: Members whose own members are freely chosen names: a property may be called "tags".
_NAMED: Final = frozenset(
    {
        *("paths", "responses", "content", "headers", "callbacks", "mapping", "encoding"),
        *("properties", "patternProperties", "$defs", "dependentSchemas"),
        *("schemas", "parameters", "securitySchemes", "requestBodies"),
    }
)
#: Lists of plain values in which the order has no meaning.
_SETS: Final = frozenset({"required", "enum", "examples"})
#: Members that hold data instead of further OpenAPI objects.
_DATA: Final = frozenset({"default", "example", "const", *_SETS})


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """A place with its value in both documents; :data:`ABSENT` if one of them has none."""

    where: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.where}: {repr(self.old)[:80]} -> {repr(self.new)[:80]}"

    @property
    def breaks(self) -> bool:
        """Whether a client written for the old document may fail with the new one.

        An addition breaks no client, because clients ignore what they do not know, unless it is
        something that a request must now have.
        """
        if self.old is not ABSENT:
            return True
        if "/parameters/" in self.where:
            return isinstance(self.new, Mapping) and bool(self.new.get("required"))
        return "Request/required/" in f"{self.where}/"


def promises(part: Any, *, named: bool = False) -> Any:
    """The same part of a document without text for people, and without order where order has no
    meaning.

    ``named``: the members of this part are freely chosen names.
    """
    if isinstance(part, Mapping):
        return {
            name: _member(name, value, named=named)
            for name, value in part.items()
            if named or name not in TEXTS
        }
    if isinstance(part, list):
        items = [promises(item) for item in part]
        if items and all(isinstance(item, dict) and {"in", "name"} <= set(item) for item in items):
            return {f"{item['in']} {item['name']}": item for item in items}
        return items
    return part


def _member(name: str, value: Any, *, named: bool) -> Any:
    if named or name not in _DATA:
        return promises(value, named=name in _NAMED and not named)
    if name in _SETS and isinstance(value, list):
        return {repr(item): item for item in value}
    return value


def differences(old: Any, new: Any) -> list[Difference]:
    """Every place where the two documents differ in more than text."""
    return list(_differences(promises(old), promises(new), ""))


def _differences(old: Any, new: Any, where: str) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}, key=str):
            before, after = old.get(name, ABSENT), new.get(name, ABSENT)
            yield from _differences(before, after, f"{where}/{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, f"{where}/{index}")
    elif type(old) is not type(new) or old != new:
        yield Difference(where, old, new)


def main(arguments: Sequence[str]) -> int:
    """Compare two files and return the exit status."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m quantleap.core.api.compare OLD NEW\n")
        return 2
    old, new = (yaml.safe_load(Path(name).read_text()) for name in arguments)
    changes = differences(old, new)
    for difference in changes:
        sys.stdout.write(f"{difference}\n")
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
