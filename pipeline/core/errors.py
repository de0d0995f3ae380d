"""Errors that say something to a person or to a caller."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class UserError(Exception):
    """Something a person can mend. The message is one sentence: the key or file, what was found, what was expected."""


class NonFiniteError(ValueError):
    """A value that must be finite is NaN or infinite."""


@contextlib.contextmanager
def at_place(place: object) -> Iterator[None]:
    """Begin the sentences of code that does not know a place in a file with that place."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
