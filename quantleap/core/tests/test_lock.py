"""The lock files are complete: every package required by a locked package is locked too.

pip installs them with `--no-deps`, so a package that is missing here is missing on the machine.
Bug: `coverage[toml]` of pytest-cov was locked as `coverage`; in hash mode pip 23 then looked for
the newest release, and `make test` failed on every fresh machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import cast

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
LOCKS = ("requirements.txt", "requirements-dev.txt")
# What the project promises to run on: markers such as `sys_platform == "darwin"` differ there.
ENVIRONMENTS: list[dict[str, str]] = [
    cast("dict[str, str]", default_environment())
    | {
        "python_version": version,
        "python_full_version": f"{version}.7",
        "implementation_version": f"{version}.7",
        "sys_platform": platform,
        "platform_system": system,
    }
    for version in ("3.11", "3.12", "3.13", "3.14")
    for platform, system in (("linux", "Linux"), ("darwin", "Darwin"))
]


def locked(name: str) -> dict[str, str]:
    """Package name to version, as a lock file pins them."""
    lines = (ROOT / name).read_text().splitlines()
    pins = [line.split(" ")[0].split("==") for line in lines if "==" in line and line[0].isalnum()]
    return {canonicalize_name(package): version for package, version in pins}


def asked_for(name: str) -> list[Requirement]:
    """The requirements of an .in file, with those of the files that it includes."""
    requirements: list[Requirement] = []
    for line in (ROOT / name).read_text().splitlines():
        text = line.split("#")[0].strip()
        if text.startswith("-r "):
            requirements += asked_for(text[3:].strip())
        elif text:
            requirements.append(Requirement(text))
    return requirements


def applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Whether a requirement's marker applies anywhere the project runs, with these extras."""
    return requirement.marker is None or any(
        requirement.marker.evaluate(environment | {"extra": extra})
        for environment in ENVIRONMENTS
        for extra in extras or {""}
    )


def needed_by(requirement: Requirement) -> Iterator[Requirement]:
    """What an installed package asks for, extras included; nothing if it is not installed here."""
    try:
        texts = distribution(requirement.name).requires or []
    except PackageNotFoundError:
        return
    for text in texts:
        needed = Requirement(text)
        if applies(needed, frozenset(requirement.extras) | {""}):
            yield needed


def open_ends(requirements: list[Requirement], pins: dict[str, str]) -> set[str]:
    """Requirements, direct or indirect, that are not locked in a matching version."""
    missing: set[str] = set()
    visited: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if name not in pins:
            missing.add(str(requirement))
        elif not requirement.specifier.contains(pins[name], prereleases=True):
            missing.add(f"{requirement}, locked {pins[name]}")
        if key not in visited:
            visited.add(key)
            waiting += needed_by(requirement)
    return missing


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_names_every_requirement_of_every_package(lock: str) -> None:
    """On Linux and macOS, Python 3.11 to 3.14, with the extras that packages ask for."""
    asked = asked_for(lock.replace(".txt", ".in"))

    assert open_ends(asked, locked(lock)) == set()


def test_a_lock_without_a_package_of_an_extra_is_noticed() -> None:
    """The control: Celery's `redis` extra needs redis, which nothing else here names."""
    pins = locked("requirements.txt")
    del pins["redis"]

    missing = open_ends(asked_for("requirements.in"), pins)

    assert any(text.startswith("redis") for text in missing)


def test_pip_installs_the_lock_without_resolving() -> None:
    """In hash mode an older pip resolves extras to the newest release, which has no hash."""
    makefile = (ROOT / "Makefile").read_text()
    containerfile = (ROOT / "Containerfile").read_text()

    assert "--require-hashes --no-deps" in makefile
    assert makefile.count("$(CHECK)") == 2
    assert "--require-hashes --no-deps" in containerfile
