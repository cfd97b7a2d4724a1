"""Issue an access token on the order of an administrator who is connected over the network.

It can do less than `issue_access_token`, the command's action (docs/adr/0033-administrators.md): a stolen session of
minutes must become neither another administrator, nor a token without an end, nor somebody else's transfers.
"""

from __future__ import annotations

from datetime import timedelta

from app.crypto.token import access_token_digest, id_of, new_id
from app.crypto.token import new_access_token as new_token
from app.db import access_token_rows, service_rows
from app.db.access_token_rows import TokenRow
from app.db.engine import Transaction
from app.domain.access_token import Caller
from app.domain.administration import require_token_offered
from app.domain.errors import AlreadyAnswered, IdempotencyKeyReused, OnlyByCommand
from app.domain.idempotency import REPLACEABLE_FOR
from app.lifecycle import credentials, gate, new_access_token
from app.lifecycle.new_access_token import IssuedToken, TokenRequest
from app.lifecycle.reply import Reply
from app.runtime.resources import Resources

_TAKEN = "A token of this name exists, valid or not: choose another name, or make the successor of that token."


def issue_token_for_administrator(
    resources: Resources, caller: Caller, request: TokenRequest, *, key: str | None, reply: Reply
) -> IssuedToken:
    """Issue a token. `key` is the request's idempotency key: if the response to the first request was lost, the
    repeated one returns the same token with a new secret, and the lost secret opens nothing.

    Raises OnlyByCommand, LifetimeOutOfRange, InvalidRequest, OwnerTaken; what `gate.require_open_for_outflow` and
    `credentials.require` raise; ClientGone; IdempotencyKeyReused; AlreadyAnswered if the token was used or revoked.
    """
    lifetime = request.lifetime or timedelta.max
    require_token_offered(request.role, lifetime)
    now = resources.clock.now()
    row = request.row(new_id() if key is None else _id_of(caller, key), now)
    with resources.database.writing(caller.cause()) as transaction:
        service_rows.lock(transaction.connection)
        gate.require_open_for_outflow(resources, transaction.connection)
        credentials.require(transaction.connection, caller, now)
        reply.require_receiver()
        earlier = access_token_rows.find(transaction.connection, row.id)
        if earlier is not None:
            return _replace_secret(transaction, earlier, row, caller)
        if request.owner is None:
            new_access_token.require_own_owner(transaction, row.owner, advice=_TAKEN)
        elif not access_token_rows.is_owner(transaction.connection, row.owner):
            raise OnlyByCommand("owner: that of an existing token; `caducee token create` accepts any other.")
        return new_access_token.create(transaction, row, actor=caller.actor)


def _id_of(caller: Caller, key: str) -> str:
    """Return the id of the token that a request with this key creates. A key is valid for one owner."""
    return id_of(b"\0".join([b"access token by idempotency key", caller.owner.encode(), key.encode()]))


def _replace_secret(transaction: Transaction, earlier: TokenRow, row: TokenRow, caller: Caller) -> IssuedToken:
    """Give the token of the first request a new secret, unless somebody received the first one."""
    if _request_of(earlier) != _request_of(row):
        raise IdempotencyKeyReused
    young, token = row.created_at - earlier.created_at < REPLACEABLE_FOR, new_token()
    if not young or not access_token_rows.replace_unused(transaction.connection, row.id, access_token_digest(token)):
        raise AlreadyAnswered(token_id=row.id)
    transaction.log(new_access_token.created_entry(earlier, row.created_at, caller.actor, outcome="replaced"))
    return IssuedToken(earlier, token, replaced=True)


def _request_of(row: TokenRow) -> tuple[object, ...]:
    lifetime = None if row.expires_at is None else row.expires_at - row.created_at
    return row.name, row.role, row.owner, lifetime
