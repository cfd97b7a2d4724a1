"""`caducee token`: access tokens for staff, auditors and administrators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from app.actions.issue_access_token import issue_access_token
from app.actions.list_access_tokens import list_access_tokens
from app.actions.revoke_access_token import revoke_access_token
from app.domain.access_token import Role
from app.domain.duration import parse_duration
from app.runtime.clock import Clock
from app.terminal.console import REFUSED, AsJson, put, put_json, put_table, say
from app.terminal.opened import database_only, opened

tree = typer.Typer(help="Access tokens.", no_args_is_help=True)


@tree.command("create")
def create(
    name: Annotated[str, typer.Argument(help="The person or system that will use the token.")],
    *,
    role: Annotated[Role, typer.Option(help="The token's permissions.")] = Role.STAFF,
    expires: Annotated[
        str | None, typer.Option(help="Lifetime, as 90d or 12h. Default: the token does not expire.")
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option(help="The owner of its transfers, from `token list`. Default: an owner of its own."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a token. It is shown only once, because only its digest is stored."""
    lifetime = parse_duration(expires) if expires is not None else None
    with opened() as resources:
        issued = issue_access_token(resources, name=name, role=role, lifetime=lifetime, owner=owner)
    if as_json:
        put_json(
            {
                "id": issued.row.id,
                "token": issued.token,
                "name": issued.row.name,
                "role": issued.row.role.value,
                "expires_at": issued.row.expires_at,
                "owner": issued.row.owner,
            }
        )
        return
    say(f"{issued.row.role} token {issued.row.id} for {issued.row.name}; it is shown only once:")
    put(issued.token)


@tree.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List all tokens, with their expiry and revocation."""
    with database_only() as database:
        rows = list_access_tokens(database)
    if as_json:
        put_json([asdict(row) for row in rows])
        return
    columns = ("ID", "NAME", "ROLE", "OWNER", "CREATED", "EXPIRES", "REVOKED")
    put_table(columns, ((r.id, r.name, r.role, r.owner, r.created_at, r.expires_at, r.revoked_at) for r in rows))


@tree.command("revoke")
def revoke(token_id: Annotated[str, typer.Argument(help="The token's id, from `token list`.")]) -> None:
    """Revoke a token at once and permanently. Needs only the database."""
    with database_only() as database:
        revoked = revoke_access_token(database, Clock(), token_id)
    if not revoked:
        say("there is no such token, or it is already revoked")
        raise typer.Exit(REFUSED)
    say(f"revoked {token_id}")
