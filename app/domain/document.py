"""Reports as JSON documents, as printed by commands with `--json` and returned by the auditor's routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any


def document(report: object) -> dict[str, Any]:
    """Return the fields of a dataclass, recursively. Times as RFC 3339 in UTC, in whole seconds."""
    plain: dict[str, Any] = _plain(report)
    return plain


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value
