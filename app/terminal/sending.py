"""`caducee send` and `caducee sent`: deposit files over HTTP, sealed here, and see what became of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.console import AsJson, put_exact, put_json, put_table, say
from app.terminal.plain_text import visible

if TYPE_CHECKING:
    from app.client.sending import Sent

Files = Annotated[list[Path], typer.Argument(help="Files and folders.", metavar="FILE|FOLDER...")]
To = Annotated[list[str], typer.Option("--to", help="A recipient's name; repeat it for several. No patient data.")]
Lifetime = Annotated[str | None, typer.Option("--expires", help="How long it lives: 12h, 3d. Default: the service's.")]
Label = Annotated[str | None, typer.Option("--label", help="What it is, for the recipient. No patient data.")]
Purpose = Annotated[str | None, typer.Option("--purpose", help="One of the service's purposes.")]
Records = Annotated[int | None, typer.Option("--records", help="How many people's data it holds.")]
LinkFile = Annotated[Path | None, typer.Option("--link-file", help="Write the link to a new file of mode 0600.")]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="Write the password to another such file.")]

Patience = Annotated[str, typer.Option("--patience", help="How long to go on while nothing moves.")]


def send(
    files: Files,
    *,
    to: To,
    expires: Lifetime = None,
    label: Label = None,
    purpose: Purpose = None,
    records: Records = None,
    link_file: LinkFile = None,
    password_file: PasswordFile = None,
    patience: Patience = "10m",
    as_json: AsJson = False,
) -> None:
    """Send files, encrypted on this machine. Goes on after a failure, and when started again."""
    from app.client.collecting import collect
    from app.client.http_calls import Service
    from app.client.sending import Request, Sending
    from app.client.state import ClientState
    from app.domain.duration import parse_duration
    from app.terminal.progress import Bars

    _require_new(link_file, password_file, recipients=len(to))
    terms = {"expires_in": expires, "label": label, "purpose": purpose, "records": records}
    request = Request(collect(files), to, {name: value for name, value in terms.items() if value is not None})
    for file in request.files:
        if not file.size:
            say(f"note: {file.shown} is empty")
    with Service.from_environment().connect() as http, Bars() as bars:

        def show(sent: Sent) -> None:
            bars.over()
            _show(sent, link_file, password_file, as_json=as_json)

        seconds = parse_duration(patience).total_seconds()
        Sending(http, ClientState(), request, patience_seconds=seconds, watcher=bars.watcher).run(show)


def _require_new(*paths: Path | None, recipients: int) -> None:
    """Refuse files for link and password that exist, and one pair of files for several recipients."""
    given = [path for path in paths if path is not None]
    if given and recipients > 1:
        raise typer.BadParameter("--link-file and --password-file are for one recipient")
    for path in given:
        if path.exists():
            raise typer.BadParameter(f"{path} exists already")


def _show(sent: Sent, link_file: Path | None, password_file: Path | None, *, as_json: bool) -> None:
    """Write link and password where the user wants them: two files, one JSON document, or two blocks.

    Raises OutputUnread, OSError: what nobody read was not shown, so the next start withdraws these shares and issues
    others.
    """
    for share in sent.shares.values():
        _write_secret(link_file, share.link.text())
        _write_secret(password_file, share.password)
    if as_json:
        document = _document(sent, with_link=link_file is None, with_password=password_file is None)
        put_exact(f"{json.dumps(document, ensure_ascii=False, indent=2)}\n")
        return
    for recipient, share in sent.shares.items():
        mailed = f"in {link_file}" if link_file else share.link.text()
        told = f"in {password_file}" if password_file else share.password
        put_exact(
            f"--- for {visible(recipient)}: send this by mail ---\n{mailed}\nexpires   {sent.expires_at}\n"
            f"--- for {visible(recipient)}: tell this by telephone, never by mail ---\n{told}\n\n"
        )
    say(f"neither is shown again; `caducee sent` tells what became of {sent.transfer_id}")


def _document(sent: Sent, *, with_link: bool, with_password: bool) -> dict[str, Any]:
    return {
        "transfer_id": sent.transfer_id,
        "shares": [
            {"share_id": share.id, "recipient": recipient}
            | ({"link": share.link.text()} if with_link else {})
            | ({"password": share.password} if with_password else {})
            for recipient, share in sent.shares.items()
        ],
        "expires_at": sent.expires_at,
        "files": [
            {"name": file.name} | ({"path": file.folders} if file.folders else {}) | {"size": file.size}
            for file in sent.files
        ],
    }


def _write_secret(path: Path | None, text: str) -> None:
    if path is not None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{text}\n")


def sent(*, as_json: AsJson = False) -> None:
    """List what was sent from here, to whom, and whether it was fetched."""
    from app.client.errors import ServiceRefused
    from app.client.http_calls import Service, ask
    from app.client.state import ClientState

    shown = []
    with Service.from_environment().connect() as http:
        for each in ClientState().sent():
            if each.server != str(http.base_url).rstrip("/"):
                continue
            try:
                now = ask(http, "GET", f"/api/v1/transfers/{each.transfer_id}")
            except ServiceRefused as failure:
                if failure.status is None:
                    raise
                now = {"state": "unknown", "shares": []}
            shown.append({**now, "id": each.transfer_id, "names": each.files, "recipients": each.recipients})
    if as_json:
        put_json({"transfers": shown})
        return
    rows = (row for each in shown for row in _rows(each))
    put_table(("transfer", "files", "to", "state", "fetched", "expires"), rows)


def _rows(sent: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each share; one for a transfer without any."""
    names, none = ", ".join(sent["names"]), {"recipient": ", ".join(sent["recipients"]), "state": sent["state"]}
    for share in sent["shares"] or [none]:
        fetched = share.get("used_at") or ""
        yield sent["id"], names, share["recipient"] or "", share["state"], fetched, sent.get("expires_at", "")
