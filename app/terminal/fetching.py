"""`caducee get`: fetch the files of a link, decrypted and checked on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.asking import ask_password, confirm
from app.terminal.console import REFUSED, AsJson, put, put_json, say

if TYPE_CHECKING:
    from app.client.fetching import FetchedFile, Fetching
    from app.client.received import Received

Link = Annotated[str, typer.Argument(help="The link, as it was sent; - reads it from standard input.", metavar="LINK")]
Folder = Annotated[
    Path, typer.Option("-o", "--output", help="The folder for the files; made if it does not exist.", file_okay=False)
]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="Read the password from a file.")]
Trust = Annotated[bool, typer.Option("--trust", help="Do not ask whether to fetch from a server that is new here.")]


def get(
    link: Link,
    *,
    output: Folder = Path(),
    password_file: PasswordFile = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Fetch the files of a link, decrypted on this machine. Once all are here, the service destroys its keys. Goes on
    after a failure, and when started again.
    """
    from app.client.fetching import Fetching
    from app.client.http_calls import connect
    from app.client.link import Link as ClientLink
    from app.client.received import Received
    from app.client.state import ClientState
    from app.client.unfinished import sweep
    from app.terminal.progress import Bars

    parsed, state = ClientLink.parse(sys.stdin.read() if link == "-" else link), ClientState()
    if (earlier := Received.find(state, parsed.share_id)) is not None and earlier.is_confirmed:
        _report_earlier(earlier, as_json=as_json)
        return
    if not trust and not state.knows(parsed.server) and not confirm(f"Fetch from {parsed.server}, which is new here?"):
        say("nothing was fetched; --trust does not ask")
        raise typer.Exit(REFUSED)
    with connect(parsed.server) as http, Bars() as bars:
        state.trust(parsed.server)
        sweep(state, http)
        output.mkdir(parents=True, exist_ok=True)
        fetching = Fetching(http, state, parsed, folder=output.resolve(), watcher=bars.watcher)
        if (ended := _ended_with(fetching, earlier)) is not None:
            ended.confirmed(state)
            _report_earlier(ended, as_json=as_json)
            return
        files = _fetched(fetching, *_password(password_file))
    _report(files, as_json=as_json)


def _ended_with(fetching: Fetching, earlier: Received | None) -> Received | None:
    """Announce the share; or return what was received here if the share has ended with it, and its response was lost.

    Raises ShareUsed if it was used elsewhere.
    """
    from app.domain.errors import ShareUsed

    try:
        _announce(fetching.look())
    except ShareUsed:
        if earlier is None:
            raise
        return earlier
    return None


def _announce(share: dict[str, Any]) -> None:
    """Say what the link holds, and that it works once, before the password is given."""
    from rich.filesize import decimal

    from app.terminal.plain_text import visible

    what = "1 file" if share["files"] == 1 else f"{share['files']} files"
    label = f"{visible(share['label'])}: " if share.get("label") else ""
    say(f"{label}{what}, {decimal(share['size'])}; fetch by {share['expires_at']}")
    say("the link works once: when everything is here, the service destroys its keys, and the link ends")


def _fetched(fetching: Fetching, password: str, again: Callable[[], str] | None) -> list[FetchedFile]:
    """Fetch; after a wrong password, say how many attempts are left, and ask `again` where somebody is there to ask.

    Raises ServiceRefused; ShareLocked after the last attempt.
    """
    from app.client.errors import ServiceRefused

    while True:
        try:
            return fetching.run(password)
        except ServiceRefused as refusal:
            if refusal.attempts_left is None:
                raise
            if refusal.attempts_left == 0:
                fetching.look()  # raises ShareLocked, unless another attempt is still being checked
            say(f"wrong password; attempts left before the link is locked: {refusal.attempts_left}")
            if again is None or refusal.attempts_left == 0:
                raise
        password = again()


def _report_earlier(earlier: Received, *, as_json: bool) -> None:
    """Say that everything was received before. Raises typer.Exit if a file is not what it was."""
    say(f"already received here at {earlier.received_at} in {earlier.folder}; a link works once")
    if lost := earlier.lost:
        say(f"changed, moved or deleted since: {', '.join(lost)}; ask the sender for a new link if you need them")
        raise typer.Exit(REFUSED)
    _put_files([(file.path, file.size) for file in earlier.files], as_json=as_json)


def _report(files: list[FetchedFile], *, as_json: bool) -> None:
    _put_files([(str(file.path), file.size) for file in files], as_json=as_json)
    say("everything has arrived; the service was told so, and the link has ended")


def _put_files(files: list[tuple[str, int]], *, as_json: bool) -> None:
    if as_json:
        put_json({"files": [{"path": path, "size": size} for path, size in files]})
        return
    for path, _ in files:
        put(path)


def _password(path: Path | None) -> tuple[str, Callable[[], str] | None]:
    """Return the password from a file, a command, or the terminal, and how to ask for it again."""
    if path is not None:
        return path.read_text("utf-8").strip(), None
    if command := os.environ.get("CADUCEE_PASSWORD_COMMAND"):
        done = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603
        return done.stdout.strip(), None
    return ask_password(), ask_password
