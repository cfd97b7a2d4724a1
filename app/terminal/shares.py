"""`caducee share`: issue a share over HTTP from any machine, with a staff token and the transfer's client key."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from app.terminal.console import AsJson, put, put_json, say

tree = typer.Typer(help="Shares: one recipient's right to fetch a transfer once.", no_args_is_help=True)


@tree.callback()
def share() -> None:
    """Shares: one recipient's right to fetch a transfer once."""


@tree.command("issue")
def issue(
    transfer_id: Annotated[str, typer.Argument(help="The transfer's id.")],
    *,
    to: Annotated[str, typer.Option("--to", help="The recipient's name in the share. No patient data.")],
    as_json: AsJson = False,
) -> None:
    """Issue a share. Reads CADUCEE_SERVER, CADUCEE_TOKEN and CADUCEE_CLIENT_KEY; prompts for a missing client key."""
    from app.client.http_calls import Service  # no other command needs an HTTP client

    service = Service.from_environment()
    client_key = os.environ.get("CADUCEE_CLIENT_KEY") or typer.prompt("Client key", hide_input=True, err=True)
    answer = service.issue_share(transfer_id, recipient=to, client_key=client_key)
    if as_json:
        put_json(answer)
        return
    say("send the link by mail and the password by telephone; neither is shown again")
    put(f"link      {answer['link']}")
    put(f"password  {answer['password']}")
    put(f"expires   {answer['expires_at']}")
