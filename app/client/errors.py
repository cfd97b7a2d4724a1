"""Client errors. No message contains anything that was sent."""

from __future__ import annotations


class NotConfigured(Exception):
    """The service's address, or a secret to use with it, is missing or malformed."""


class FileChanged(Exception):
    """The file was changed between the computation of its checksum and its upload."""


class ServiceRefused(Exception):
    """The service refused a request, was unreachable, or sent an invalid response."""

    attempts_left: int | None = None
    """After a wrong password."""

    def __init__(self, message: str, code: str | None = None, status: int | None = None) -> None:
        """`message` is for people; `code` is the problem's code, or None if there was no problem document; `status` is
        None if there was no response.
        """
        super().__init__(message)
        self.code = code
        self.status = status


class ServiceUnavailable(ServiceRefused):
    """The service could not be reached, or cannot accept the request now; a later attempt may succeed, after
    `retry_after_seconds` if the service named a time.
    """

    retry_after_seconds: int = 0


class InUse(Exception):
    """Another process holds what this one needs."""


class NotSendable(Exception):
    """What the user asked to send cannot be sent."""

    def __init__(self, message: str, code: str = "not_sendable") -> None:
        """`message` is for people, `code` for programs."""
        super().__init__(message)
        self.code = code


class HookFailed(Exception):
    """A command that hands over a link or a password did not succeed; a later attempt may."""
