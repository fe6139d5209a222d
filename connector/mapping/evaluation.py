"""A compiled expression, and how it fails: the types that `closures` and its parts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Evaluate", "Failed", "Tables"]

Evaluate = Callable[[Any, Any], Any]
"""Takes a value within a record, and the Kafka record; returns the result of an expression.

Raises:
    Failed: the expression has no result.
"""

Tables = Mapping[str, Mapping[str, Any]]
"""The tables of a mapping file by name, each by its keys."""


class Failed(Exception):
    """An expression has no result for this record.

    The text names a function and a kind of value, never a value.
    """
