"""Client errors. No message contains anything that was sent."""

from __future__ import annotations


class NotConfigured(Exception):
    """The service's address, or a secret to use with it, is missing or malformed."""


class ServiceRefused(Exception):
    """The service refused a request (`code` is the problem's code), was unreachable or sent no valid answer (None)."""

    def __init__(self, told: str, code: str | None = None) -> None:
        """`told` is the message for a person."""
        super().__init__(told)
        self.code = code
