"""Columns with a meaning of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


class SealedField(_TextField):
    """Text that holds ciphertext of :mod:`quantleap.core.crypto` or nothing.

    It seals nothing by itself, because a value is bound to its row's key: services write what
    ``crypto.encrypt(plain, place=…)`` returned. The class is how re-encryption, and the question
    which keys are in use, find every such column. For migrations it is a plain text column.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["editable"] = False
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        """As ``TextField``: the database cannot tell them apart."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.TextField", args, kwargs


def sealed_place(row: models.Model, field: str) -> str:
    """What binds a ciphertext to its place (``table:pk:field``); the row must have its key."""
    return place_of(type(row), row.pk, field)


def place_of(model: type[models.Model], pk: object, field: str) -> str:
    """The same where only the row's key is at hand."""
    return f"{model._meta.db_table}:{pk}:{field}"
