"""Errors that say something to a person or to a caller."""

from __future__ import annotations


class UserError(Exception):
    """Something a person can mend. The message is one sentence: the key or file, what was found, what was expected."""


class NonFiniteError(ValueError):
    """A value that must be finite is NaN or infinite."""
