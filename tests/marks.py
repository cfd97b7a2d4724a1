"""Marks that several tests use."""

from __future__ import annotations

from typing import Any

import pytest


def in_test_all(*values: Any) -> Any:
    """A case that another one stands for in `make test`; `make test-all` runs it."""
    return pytest.param(*values, marks=pytest.mark.external)
