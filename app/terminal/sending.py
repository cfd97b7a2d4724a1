"""`caducee send` and `caducee sent`: deposit files over HTTP, sealed here, and see what became of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.console import AsJson, put_exact, put_json, put_table, say
from app.terminal.ending import own_transfers
from app.terminal.plain_text import visible
from app.terminal.share_blocks import MailLanguage, blocks, language_of_mail, local_time, mail_or_link

if TYPE_CHECKING:
    from app.client.sending import Sent
    from app.client.state import ClientState

Files = Annotated[list[Path], typer.Argument(help="Files and folders.", metavar="FILE|FOLDER...")]
To = Annotated[list[str], typer.Option("--to", help="A recipient's name; repeat it for several. No patient data.")]
Lifetime = Annotated[str | None, typer.Option("--expires", help="How long it lives: 12h, 3d. Default: the service's.")]
Label = Annotated[str | None, typer.Option("--label", help="What it is, for the recipient. No patient data.")]
Purpose = Annotated[str | None, typer.Option("--purpose", help="One of the service's purposes.")]
Records = Annotated[int | None, typer.Option("--records", help="How many people's data it holds.")]
LinkFile = Annotated[Path | None, typer.Option("--link-file", help="Write the link to a new file of mode 0600.")]
PasswordFile = Annotated[Path | None, typer.Option("--password-file", help="Write the password to another such file.")]

AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="Also send files that are empty.")]
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
    allow_empty: AllowEmpty = False,
    patience: Patience = "10m",
    lang: MailLanguage = None,
    as_json: AsJson = False,
) -> None:
    """Send files, encrypted on this machine. Goes on after a failure, and when started again."""
    from app.client.collecting import collect, fingerprint, require_content
    from app.client.http_calls import Service
    from app.client.sending import Request, Sending
    from app.client.state import ClientState
    from app.domain.duration import parse_duration
    from app.terminal.progress import Bars

    _require_new(link_file, password_file, recipients=len(to))
    terms = {"expires_in": expires, "label": label, "purpose": purpose, "records": records}
    given = {name: value for name, value in terms.items() if value is not None}
    collected = collect(files, left_out=lambda path: say(f"left out, a file of the system or unfinished: {path}"))
    if not allow_empty:
        require_content(collected)
    request = Request(collected, to, given, language_of_mail(lang))
    state = ClientState()
    with Service.from_environment().connect() as http, Bars() as bars:

        def show(sent: Sent) -> None:
            bars.over()
            _note_earlier(state, sent.transfer_id, fingerprint(request.files, request.recipients))
            _show(sent, _Output(link_file, password_file, as_json=as_json, json_mail=lang is not None))

        seconds = parse_duration(patience).total_seconds()
        Sending(http, state, request, patience_seconds=seconds, watcher=bars.watcher).run(show)


def _note_earlier(state: ClientState, transfer_id: str, fingerprint: str) -> None:
    """Say that the same files went to the same recipients before. It may be meant: a link is shown only once."""
    for earlier in state.sent():
        if earlier.fingerprint == fingerprint and earlier.transfer_id != transfer_id:
            say(
                f"note: sent already at {local_time(earlier.sent_at)} to {visible(', '.join(earlier.recipients))}; "
                f"`caducee transfer delete {earlier.transfer_id}` ends that transfer if it is not needed"
            )


def _require_new(*paths: Path | None, recipients: int) -> None:
    """Refuse files for link and password that exist, and one pair of files for several recipients."""
    given = [path for path in paths if path is not None]
    if given and recipients > 1:
        raise typer.BadParameter("--link-file and --password-file are for one recipient")
    for path in given:
        if path.exists():
            raise typer.BadParameter(f"{path} exists already")


@dataclass(frozen=True, slots=True)
class _Output:
    """Where link and password go: to files, to stdout, or into a JSON document there, with the text to mail or not."""

    link_file: Path | None
    password_file: Path | None
    as_json: bool
    json_mail: bool


def _show(sent: Sent, output: _Output) -> None:
    """Write link and password where the user wants them: two files, one JSON document, or two blocks.

    Raises OutputUnread, OSError: what nobody read was not shown, so the next start withdraws these shares and issues
    others.
    """
    for share in sent.shares.values():
        _write_secret(output.link_file, share.link.text())
        _write_secret(output.password_file, share.password)
    if output.as_json:
        put_exact(f"{json.dumps(_document(sent, output), ensure_ascii=False, indent=2)}\n")
        return
    for recipient, share in sent.shares.items():
        link, mail = (f"in {output.link_file}", None) if output.link_file else (share.link.text(), share.mail)
        password = f"in {output.password_file}" if output.password_file else share.password
        mail = mail_or_link(mail, link=link, expires_at=sent.expires_at)
        put_exact(blocks(recipient, mail=mail, password=password))
    say(
        f"expires {local_time(sent.expires_at)}; neither link nor password is shown again; "
        f"`caducee sent` tells what became of {sent.transfer_id}"
    )


def _document(sent: Sent, output: _Output) -> dict[str, Any]:
    with_link, with_password = output.link_file is None, output.password_file is None
    return {
        "transfer_id": sent.transfer_id,
        "shares": [
            {"share_id": share.id, "recipient": recipient}
            | ({"link": share.link.text()} if with_link else {})
            | ({"password": share.password} if with_password else {})
            | ({"mail": share.mail} if with_link and output.json_mail else {})
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
    from app.terminal.sent_table import COLUMNS, rows, with_moments

    shown = []
    with own_transfers() as own:
        for each, now in own.sent():
            shares = [with_moments(share) for share in now["shares"]]
            known = {"id": each.transfer_id, "names": each.files, "recipients": each.recipients}
            shown.append(now | known | {"shares": shares})
    if as_json:
        put_json({"transfers": shown})
        return
    put_table(COLUMNS, [row for each in shown for row in rows(each)])
