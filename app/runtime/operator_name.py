"""The person who runs a command on the machine, as the operating system knows them, for the log.

The value names its source. `login:NAME` is the login that the kernel recorded for the session (`loginuid`); `sudo` and
`su` keep it, and only root can change it. `sudo:NAME` is what `sudo` reported; somebody who already has a shell as the
service's user could set it. `user:NAME` is the user of the process, which several people may share.
"""

from __future__ import annotations

import os
import pwd
import re
from functools import cache
from pathlib import Path

LOGINUID = Path("/proc/self/loginuid")
UNSET = 2**32 - 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}\$?")


@cache
def operator_name() -> str:
    """Return who runs this process, with the source: `login:alice`, `sudo:alice` or `user:caducee`."""
    login = _login()
    if login is not None:
        return f"login:{_name_of(login)}"
    sudoer = os.environ.get("SUDO_UID", "")
    if sudoer.isascii() and sudoer.isdecimal() and _name_of(int(sudoer)) == os.environ.get("SUDO_USER"):
        return f"sudo:{_name_of(int(sudoer))}"
    return f"user:{_name_of(os.getuid())}"


def _login() -> int | None:
    """Return the uid of the session's login; None without one, as in a container or a job of the service manager."""
    try:
        uid = int(LOGINUID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if uid == UNSET else uid


def _name_of(uid: int) -> str:
    """Return the user's name; the number if there is no plain one, so that nothing else reaches the log."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
    return name if _NAME.fullmatch(name) else str(uid)
