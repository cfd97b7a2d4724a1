"""`caducee get`: fetch the files of a link, decrypted and checked on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.terminal.console import AsJson, put, put_json, say

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
    """Fetch the files of a link, decrypted on this machine. Goes on after a failure, and when started again."""
    from app.client.fetching import Fetching
    from app.client.http_calls import connect
    from app.client.link import Link as ClientLink
    from app.client.state import ClientState
    from app.terminal.progress import Bars

    parsed, state = ClientLink.parse(sys.stdin.read() if link == "-" else link), ClientState()
    if not trust and not state.knows(parsed.server):
        typer.confirm(f"Fetch from {parsed.server}, which is new here? (--trust does not ask)", abort=True, err=True)
    state.trust(parsed.server)
    output.mkdir(parents=True, exist_ok=True)
    password = _password(password_file)
    with connect(parsed.server) as http, Bars() as bars:
        files = Fetching(http, state, parsed, folder=output.resolve(), watcher=bars.watcher).run(password)
    if as_json:
        put_json({"files": [{"path": str(file.path), "size": file.size} for file in files]})
        return
    for file in files:
        put(str(file.path))
    say("everything has arrived; the service has destroyed its keys to this link")


def _password(path: Path | None) -> str:
    """Return the password from a file, a command, or the terminal."""
    if path is not None:
        return path.read_text("utf-8").strip()
    if command := os.environ.get("CADUCEE_PASSWORD_COMMAND"):
        done = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603
        return done.stdout.strip()
    answer: str = typer.prompt("Password", hide_input=True, err=True)
    return answer
