"""Questions to a person on a terminal: asked again after an answer that cannot be meant, a few times only."""

from __future__ import annotations

from collections.abc import Callable
from getpass import getpass
from typing import TypeVar

from app.crypto.errors import MalformedSecret
from app.crypto.password import normalise
from app.terminal.console import say

T = TypeVar("T")

TRIES = 5
_YES, _NO = frozenset({"y", "yes", "o", "oui"}), frozenset({"n", "no", "non"})


class Unanswered(Exception):
    """A question had no answer that could be used."""


def confirm(question: str) -> bool:
    """Ask for yes or no, in English or French. Raises Unanswered."""

    def read() -> bool | None:
        say(f"{question} [y/n]")
        answer = input().strip().lower()
        return True if answer in _YES else False if answer in _NO else None

    return _asked(read, "answer yes or no (y/n, o/n)")


def ask_password() -> str:
    """Ask for a share's password, unseen. Raises Unanswered."""

    def read() -> str | None:
        answer = getpass("Password: ")
        try:
            normalise(answer)
        except MalformedSecret:
            return None
        return answer

    return _asked(read, "a password has 16 characters, as in XXXX-XXXX-XXXX-XXXX; no attempt was used")


def _asked(read: Callable[[], T | None], hint: str) -> T:
    for _ in range(TRIES):
        try:
            answer = read()
        except EOFError:
            raise Unanswered("there is nobody to answer") from None
        if answer is not None:
            return answer
        say(hint)
    raise Unanswered(f"{TRIES} answers could not be used")
