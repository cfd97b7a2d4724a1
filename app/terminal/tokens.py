"""`caducee token`: access tokens for staff, auditors and administrators."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from app.actions.issue_access_token import issue_access_token
from app.actions.list_access_tokens import list_access_tokens
from app.actions.revoke_access_token import revoke_access_token
from app.db.access_token_rows import TokenRow
from app.domain.access_token import ENDS_SOON, Role, TokenState, token_state
from app.domain.duration import parse_duration
from app.domain.finding import ending_unreplaced
from app.runtime.clock import Clock
from app.terminal.console import REFUSED, AsJson, Why, put, put_json, put_table, say
from app.terminal.opened import database_only, opened
from app.terminal.table import Column

tree = typer.Typer(help="Access tokens.", no_args_is_help=True)

COLUMNS = (
    Column("ID"),
    Column("NAME", text=True),
    Column("ROLE", rank=1),
    Column("STATE"),
    Column("EXPIRES", rank=2),
    Column("OWNER", rank=4, text=True),
    Column("LAST USED", rank=3),
    Column("CREATED", rank=5),
    Column("REVOKED", rank=6),
)


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
    if lifetime is None:
        say("this token does not expire: give it an end, for example --expires 90d, and renew it with --owner")
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
    """List all tokens, with their state, expiry and last use."""
    now = Clock().now()
    with database_only() as database:
        listed = [(row, _state_of(row, now)) for row in list_access_tokens(database)]
    if as_json:
        put_json({"tokens": [{**asdict(row), "state": state.value} for row, state in listed]})
        return
    put_table(COLUMNS, (_row(row, state) for row, state in listed))
    soon = ending_unreplaced((row for row, _ in listed), now)
    if soon:
        say(f"tokens that end within {ENDS_SOON.days} days: {soon}; `token create --owner` makes successors")


def _state_of(row: TokenRow, now: datetime) -> TokenState:
    return token_state(revoked_at=row.revoked_at, expires_at=row.expires_at, now=now)


def _row(row: TokenRow, state: TokenState) -> tuple[object, ...]:
    times = (row.last_used_at or "never", row.created_at, row.revoked_at)
    return (row.id, row.name, row.role, state.value.replace("_", " "), row.expires_at or "never", row.owner, *times)


@tree.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id, from `token list`.")],
    *,
    reason: Why = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a token at once and permanently. Needs only the database."""
    with database_only() as database:
        revoked = revoke_access_token(database, Clock(), token_id, reason=reason)
    if as_json:
        put_json({"id": token_id, "revoked": revoked})
    if not revoked:
        say("there is no such token, or it is already revoked")
        raise typer.Exit(REFUSED)
    if not as_json:
        say(f"revoked {token_id}")
