"""Whom a process serves: recipients and staff can have hosts of their own."""

from __future__ import annotations

from enum import StrEnum


class Audience(StrEnum):
    """The routes that a process has. The probes are in all of them."""

    ALL = "all"
    RECIPIENT = "recipient"
    STAFF = "staff"
