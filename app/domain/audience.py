"""The users whom a process serves: recipients and staff can have separate hosts."""

from __future__ import annotations

from enum import StrEnum


class Audience(StrEnum):
    """The routes that a process serves. Every audience includes the probes."""

    ALL = "all"
    RECIPIENT = "recipient"
    STAFF = "staff"
