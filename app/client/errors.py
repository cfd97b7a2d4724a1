"""What a program that talks to the service fails with. No message holds anything that was sent."""

from __future__ import annotations


class NotConfigured(Exception):
    """What the program was told of the service, or the secrets to use with it, is missing or malformed."""


class ServiceRefused(Exception):
    """The service refused, with the problem's `code`, or could not be reached or understood (None)."""

    def __init__(self, told: str, code: str | None = None) -> None:
        """What to tell a person; nothing that was sent is in it."""
        super().__init__(told)
        self.code = code
