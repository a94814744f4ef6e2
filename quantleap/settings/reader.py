"""Typed readers of the environment; every error names the variable."""

from __future__ import annotations

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off", "")


class Environment(environ.FileAwareEnv):  # type: ignore[misc] # the library has no types
    """django-environ's reader of ``NAME`` and ``NAME_FILE``.

    A value that cannot be read raises ImproperlyConfigured with the variable's name and without its
    value, which may be a secret. That includes a switch that is neither on nor off; the library
    would treat every unknown value as off.
    """

    def get_value(self, var: Any, *args: Any, **kwargs: Any) -> Any:
        """The value of ``var``, cast; ImproperlyConfigured names it if it is invalid."""
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} cannot be read as what it should be") from error
        except OSError as error:
            message = f"{var}_FILE names a file that cannot be read ({error.strerror})"
            raise ImproperlyConfigured(message) from error

    def bool(self, var: str, default: Any = environ.Env.NOTSET) -> bool:
        """A switch: 1, true, yes, on or 0, false, no, off."""
        text = str(self.str(var, default=default)).strip().lower()
        if text not in _YES + _NO:
            raise ImproperlyConfigured(
                f"{var} must be one of {', '.join(filter(None, _YES + _NO))}"
            )
        return text in _YES
