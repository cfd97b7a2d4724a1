"""`caducee share`: issue a share from what this machine remembers, and withdraw one."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.terminal.console import AsJson, OutputUnread, Why, put_exact, say
from app.terminal.ending import is_over_http, own_transfers, put_ended, service_installed
from app.terminal.share_blocks import MailLanguage, blocks, language_of_mail, local_time, mail_or_link

if TYPE_CHECKING:
    from app.client.own_transfers import IssuedShare

tree = typer.Typer(help="Shares: one recipient's right to fetch a transfer once.", no_args_is_help=True)


@tree.callback()
def share() -> None:
    """Shares: one recipient's right to fetch a transfer once."""


@tree.command("issue")
def issue(
    transfer_id: Annotated[str, typer.Argument(help="The transfer's id.")],
    *,
    to: Annotated[str, typer.Option("--to", help="The recipient's name in the share. No patient data.")],
    lang: MailLanguage = None,
    as_json: AsJson = False,
) -> None:
    """Issue a share over HTTP, with the client key that this machine remembers, or CADUCEE_CLIENT_KEY, or asked for."""
    with own_transfers() as own:
        issued = own.issue(transfer_id, to, language=language_of_mail(lang), ask_for_key=_client_key)
        try:
            if as_json:
                document = _document(issued, with_mail=lang is not None)
                put_exact(f"{json.dumps(document, ensure_ascii=False, indent=2)}\n")
            else:
                mail = mail_or_link(issued.mail, link=issued.link, expires_at=issued.expires_at)
                put_exact(blocks(to, mail=mail, password=issued.password))
        except (OutputUnread, OSError):  # nobody has the link
            own.withdraw(issued.id)
            raise
    say(f"share {issued.id} expires {local_time(issued.expires_at)}; neither link nor password is shown again")


def _client_key() -> str | None:
    """Return the client key from the environment or the terminal; None if the user has none."""
    if key := os.environ.get("CADUCEE_CLIENT_KEY"):
        return key
    say("this machine does not remember the client key of this transfer")
    try:
        answer: str = typer.prompt("Client key", hide_input=True, err=True, default="", show_default=False)
    except typer.Abort:  # the end of the input: nobody is there
        return None
    return answer or None


def _document(issued: IssuedShare, *, with_mail: bool) -> dict[str, Any]:
    document = {
        "share_id": issued.id,
        "link": issued.link,
        "password": issued.password,
        "expires_at": issued.expires_at,
    }
    return document | ({"mail": issued.mail} if with_mail else {})


@tree.command("revoke")
def revoke(
    share_id: Annotated[str, typer.Argument(help="The share's id.")],
    *,
    reason: Why = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a share: its keys are destroyed at once and a running download is aborted. Over HTTP where
    CADUCEE_SERVER is set, else in the installation on this machine.
    """
    if is_over_http():
        with own_transfers() as own:
            ended = own.withdraw(share_id, reason=reason)
            state, destroyed = ended.state, ended.keys_destroyed
    else:
        with service_installed():
            from app.terminal.shares_here import revoke_here
        state, destroyed = revoke_here(share_id, reason)
    put_ended(share_id, state, keys_destroyed=destroyed, as_json=as_json)
