"""The list of what was sent: of a depositor who sent thousands of transfers, and of one who sent none, in turns."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select

from app.crypto.token import new_id, new_secret
from app.db.engine import Database
from app.db.tables import access_tokens, claims, files, shares, transfers
from app.domain.share import ShareState
from app.domain.transfer import FileState, TransferState
from bench.servers import Service
from bench.wire import Connection

PAGE = 25
"""Transfers that the staff's page asks for when it shows the list (PAGE in app/web/static/sent.js)."""


def rounds(service: Service, *, of_many: str, of_none: str, count: int, limit: int = PAGE) -> tuple[list[float], ...]:
    """Return seconds per answer, one per round: of the first page of many transfers, and of an empty list, each asked
    for with the access token of its depositor.
    """
    found = list[float](), list[float]()
    connections = [Connection(service.port, {"Authorization": f"Bearer {token}"}) for token in (of_many, of_none)]
    for number in range(count + 5):
        for connection, times in zip(connections, found, strict=True):
            started = time.perf_counter()
            answer = connection.ask("GET", f"/api/v1/transfers?limit={limit}")
            if number >= 5:  # the first ones fill caches
                times.append(time.perf_counter() - started)
            answer.json()
    for connection in connections:
        connection.close()
    return found


def seed(service: Service, *, count: int) -> None:
    """Give the service's depositor `count` transfers, in its database."""
    database = Database(service.database_url)
    add_transfers(database, "bench", count)
    database.close()


def add_transfers(database: Database, token_name: str, count: int) -> None:
    """Give the depositor with the token of this name `count` transfers, each with two files and two shares, one of them
    claimed. Only rows are listed, so only rows are made.
    """
    with database.reading() as connection:
        query = select(access_tokens.c.id, access_tokens.c.owner).where(access_tokens.c.name == token_name)
        token_id, owner = connection.execute(query).one()
    now = datetime.now(UTC)
    rows: dict[str, list[dict[str, Any]]] = {"transfers": [], "files": [], "shares": [], "claims": []}
    for number in range(count):
        at = now - timedelta(milliseconds=300 * number)  # within an hour: reconciliation leaves younger rows alone
        transfer = _transfer(at) | {"token_id": token_id, "owner": owner}
        waiting, used = (
            _share(transfer, ShareState.ISSUED, "Agence A"),
            _share(transfer, ShareState.CLAIMED, "Agence B"),
        )
        rows["transfers"].append(transfer)
        rows["files"] += [_file(transfer, each) for each in range(2)]
        rows["shares"] += [waiting, used]
        rows["claims"].append(_claim(used))
    with database.writing() as transaction:
        for table in (transfers, files, shares, claims):
            transaction.connection.execute(insert(table), rows[table.name])


def _transfer(at: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "state": TransferState.LIVE,
        "sealed": True,
        "created_at": at,
        "expires_at": at + timedelta(days=3),
        "closed_at": at,
        "keep_until_expiry": False,
        "label": "Semaine 48",
        "owner_wrap": new_secret(),
        "due_at": at + timedelta(days=3),
        "failures": 0,
    }


def _file(transfer: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "transfer_id": transfer["id"],
        "number": number,
        "blob_id": new_id(),
        "state": FileState.LIVE,
        "size": 100_000,
        "sealed_size": 100_168,
        "sealed_meta": bytes(200),
        "created_at": transfer["created_at"],
    }


def _share(transfer: dict[str, Any], state: ShareState, recipient: str) -> dict[str, Any]:
    return {
        "id": new_id(),
        "transfer_id": transfer["id"],
        "recipient": recipient,
        "state": state,
        "issued_at": transfer["created_at"],
        "expires_at": transfer["expires_at"],
        "link_proof_digest": new_secret(),
        "verifier_digest": new_secret(),
        "argon2_salt": bytes(16),
        "argon2_time": 1,
        "argon2_memory_kib": 64,
        "argon2_lanes": 1,
        "wrapped_key": bytes(60),
        "attempts": 0,
        "failures": 0,
        "used_at": transfer["created_at"] if state == ShareState.CLAIMED else None,
    }


def _claim(share: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": new_id(),
        "share_id": share["id"],
        "transfer_id": share["transfer_id"],
        "token_digest": new_secret(),
        "by_proof": True,
        "claimed_at": share["issued_at"],
        "window_until": share["expires_at"],
        "allowance": 600_000,
        "bytes_served": 200_000,
    }
