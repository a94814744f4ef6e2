"""Model fields with a meaning of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


class SealedField(_TextField):
    """Text that is empty or ciphertext of :mod:`quantleap.core.crypto`.

    The field encrypts nothing itself, because a value is bound to its row's key: services store
    what ``crypto.encrypt(plain, place=…)`` returns. Re-encryption and the key check find every such
    column by this class. For migrations it is a plain text column.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["editable"] = False
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        """The same as ``TextField``, because the database columns are the same."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.TextField", args, kwargs


def sealed_place(row: models.Model, field: str) -> str:
    """The place to which a ciphertext is bound (``table:pk:field``); the row must have its key."""
    return place_of(type(row), row.pk, field)


def place_of(model: type[models.Model], pk: object, field: str) -> str:
    """The same for code that has only the row's key."""
    return f"{model._meta.db_table}:{pk}:{field}"
