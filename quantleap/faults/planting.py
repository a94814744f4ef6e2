"""Planting a fault: the product's seams are wrapped, and can be unwrapped again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from django.apps import apps
from django.db.models.signals import post_migrate

Function = Callable[..., Any]


class SeamMissing(Exception):
    """The product no longer has this function or method: a move must update the fault, too."""


@dataclass(frozen=True, slots=True)
class Seam:
    """A plain function or method of the product, where its callers look it up.

    ``owner`` is the class that defines the method, or the module in whose namespace callers find
    the function: the importing module, if it was imported by name.
    """

    owner: Any
    name: str

    def __str__(self) -> str:
        module = getattr(self.owner, "__module__", None)
        place = f"{module}.{self.owner.__qualname__}" if module else self.owner.__name__
        return f"{place}.{self.name}"

    def function(self) -> Function:
        """The present function. Raises SeamMissing unless it is a function defined in Python."""
        # Not getattr: undo would set an inherited method on a class that did not define it.
        function = vars(self.owner).get(self.name)
        if not isinstance(function, FunctionType):
            raise SeamMissing(f"{self} is no function that could be wrapped")
        return function


class Planting:
    """The changes of one fault in this process, from :meth:`Fault.plant` until :meth:`undo`."""

    def __init__(self) -> None:
        #: The wrapper of each seam.
        self.seams: dict[Seam, Function] = {}
        self._undo: list[Callable[[], object]] = []

    def around(self, owner: Any, name: str) -> Callable[[Function], Function]:
        """Decorate ``instead(original, *arguments)``, which is called instead of the function.

        Raises SeamMissing if the function is not there.
        """

        def wrap(instead: Function) -> Function:
            seam = Seam(owner, name)
            original = seam.function()

            @functools.wraps(original)
            def wrapped(*arguments: Any, **named: Any) -> Any:
                return instead(original, *arguments, **named)

            self.seams[seam] = instead
            setattr(owner, name, wrapped)
            self._undo.append(lambda: setattr(owner, name, original))
            return instead

        return wrap

    def after_migrations(self, room: str, receiver: Function) -> None:
        """Call ``receiver(using=…)`` after every migration of ``room`` (an app's label)."""
        sender = apps.get_app_config(room)
        post_migrate.connect(receiver, sender=sender, weak=False)
        self._undo.append(lambda: post_migrate.disconnect(receiver, sender=sender))

    def undo(self) -> None:
        """Restore the product."""
        while self._undo:
            self._undo.pop()()


@dataclass(frozen=True, slots=True)
class Fault:
    """One deliberate fault: its name, what it breaks in a few words, and how to plant it."""

    name: str
    breaks: str
    _wrap: Callable[[Planting], None]

    def plant(self) -> Planting:
        """Wrap all seams, or none if one is missing (SeamMissing)."""
        planting = Planting()
        try:
            self._wrap(planting)
        except BaseException:
            planting.undo()
            raise
        return planting

    @contextmanager
    def planted(self) -> Iterator[Planting]:
        """Plant the fault for the duration of a ``with`` block, for tests."""
        planting = self.plant()
        try:
            yield planting
        finally:
            planting.undo()


class Faults(dict[str, Fault]):
    """Faults of one room by name; :meth:`fault` adds one."""

    def fault(
        self, name: str, breaks: str
    ) -> Callable[[Callable[[Planting], None]], Callable[[Planting], None]]:
        """Decorate the function that wraps the fault's seams."""

        def add(wrap: Callable[[Planting], None]) -> Callable[[Planting], None]:
            self[name] = Fault(name, breaks, wrap)
            return wrap

        return add
