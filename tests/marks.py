"""Marks that several tests use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def in_test_all(*values: Any) -> Any:
    """A case that another one stands for in `make test`; `make test-all` runs it."""
    return pytest.param(*values, marks=pytest.mark.external)


def first(count: int, cases: Iterable[Any]) -> list[Any]:
    """The first cases stand for all in `make test`; the others are left to `make test-all`. A tuple is one case."""
    listed = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [*(pytest.param(*case) for case in listed[:count]), *(in_test_all(*case) for case in listed[count:])]


def first_values(count: int, values: Iterable[Any]) -> list[Any]:
    """As `first`, for one parameter whose values may be tuples."""
    return first(count, ((value,) for value in values))
