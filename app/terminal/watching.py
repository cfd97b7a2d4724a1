"""`caducee watch`: send what appears in a folder, for lab systems and timers."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.console import TRY_AGAIN, AsJson, put_json, put_json_text, say
from app.terminal.sending import Label, Lifetime, Patience, Purpose

if TYPE_CHECKING:
    from app.client.hooks import Hook
    from app.client.watching import Order, Watch

Folder = Annotated[Path, typer.Argument(help="A folder; out, sent, failed and reports are made in it.", metavar="DIR")]
To = Annotated[str, typer.Option("--to", help="The recipient's name. No patient data.")]
OnLink = Annotated[str, typer.Option("--on-link", help="The command that hands over the link, as JSON on its stdin.")]
OnPassword = Annotated[str, typer.Option("--on-password", help="The command for the password, by another channel.")]
HookTimeout = Annotated[float, typer.Option("--hook-timeout", min=1, help="Seconds after which a command has failed.")]
Once = Annotated[bool, typer.Option("--once", help="Send what is ready and end; for cron and timers.")]
Settle = Annotated[float, typer.Option("--settle", min=0, help="Seconds for which a file must stay unchanged.")]
AsBatch = Annotated[bool, typer.Option("--batch", help="Send all files that are ready as one transfer.")]


def watch(
    folder: Folder,
    *,
    to: To,
    on_link: OnLink,
    on_password: OnPassword,
    hook_timeout: HookTimeout = 60,
    once: Once = False,
    settle: Settle = 10,
    batch: AsBatch = False,
    expires: Lifetime = None,
    label: Label = None,
    purpose: Purpose = None,
    patience: Patience = "10m",
    as_json: AsJson = False,
) -> None:
    """Send each file that appears in DIR/out, once; two commands hand over link and password."""
    from app.client.errors import InUse
    from app.client.hooks import Hook

    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is no folder that exists")
    hooks = Hook.parse("--on-link", on_link, hook_timeout), Hook.parse("--on-password", on_password, hook_timeout)
    terms = {"expires_in": expires, "label": label, "purpose": purpose}
    order = _order(to, hooks, {name: value for name, value in terms.items() if value}, patience, batch=batch)
    try:
        with _watching(folder.resolve(), order, settle) as watching:
            code = _once(watching, settle, as_json=as_json) if once else _for_ever(watching, as_json=as_json)
    except InUse as holder:
        say(f"cannot: {holder}")
        code = TRY_AGAIN
    raise typer.Exit(code)


def _order(to: str, hooks: tuple[Hook, Hook], terms: dict[str, str], patience: str, *, batch: bool) -> Order:
    from app.client.watching import Order
    from app.domain.duration import parse_duration

    return Order(to, *hooks, terms, batch, parse_duration(patience).total_seconds())


@contextmanager
def _watching(root: Path, order: Order, settle: float) -> Iterator[Watch]:
    """Hold the folder. Raises InUse, NotConfigured, OSError."""
    from app.client.http_calls import Service
    from app.client.state import ClientState
    from app.client.watch_journal import journal_of
    from app.client.watched_folder import WatchedFolder
    from app.client.watching import Watch

    service, state = Service.from_environment(), ClientState()
    with journal_of(root, state) as journal, service.connect() as http:
        yield Watch(http, state, (WatchedFolder(root, settle_seconds=settle), journal), order, say)


def _once(watching: Watch, settle: float, *, as_json: bool) -> int:
    report = watching.once(settle)
    if as_json:
        put_json(report.document)
    return report.exit_code


STOPPED = 128 + signal.SIGINT
"""The exit code of shells for a program that was interrupted."""


def _for_ever(watching: Watch, *, as_json: bool) -> int:
    """Watch until a refusal that needs a person; with `as_json`, print one report a line."""
    code = 0
    try:
        for report in watching.turns():
            code = report.exit_code
            if as_json:
                put_json_text(json.dumps(report.document, ensure_ascii=False))
    except KeyboardInterrupt:
        say("stopped; the next start goes on here")
        return STOPPED
    return code
