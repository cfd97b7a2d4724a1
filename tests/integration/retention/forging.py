"""Entries that whoever writes to the database can append: with a valid leaf hash, in a valid tree."""

import json
from typing import Any

from sqlalchemy import Connection, text

from app.crypto import merkle
from app.db import audit_rows, audit_size, audit_tree
from app.domain.audit_events import Entry, Event, log_time
from app.runtime.resources import Resources
from tests.full_rights import take_full_rights


def forge(resources: Resources, *entries: Entry) -> None:
    """Append entries as the service itself would."""
    with resources.database.writing() as transaction:
        audit_rows.append(transaction.connection, entries)


def forge_fields(resources: Resources, event: Event, transfer: str, **fields: Any) -> None:
    """Append an entry with these fields, whatever their types."""
    content = {"sequence": 0, "salt": "A" * 22, "event": event.value, "time": log_time(resources.clock.now())}
    content |= fields | {"transfer": transfer}

    def written(sequence: int) -> str:
        return json.dumps(content | {"sequence": sequence}, separators=(",", ":"))

    with resources.database.writing() as transaction:
        connection = transaction.connection
        append_content(connection, written(audit_size.size(connection)), resources)


def append_content(connection: Connection, content: str, resources: Resources) -> None:
    """Append any text as an entry, with the hash that it has, and with the nodes that it completes."""
    take_full_rights(connection)
    sequence, leaf = audit_size.size(connection), merkle.leaf_hash(content.encode())
    stored = audit_tree.node_reader(connection)
    nodes = merkle.nodes_completed_by(
        sequence, leaf, lambda level, at: leaf if (level, at) == (0, sequence) else stored(level, at)
    )
    values = {"sequence": sequence, "content": content, "leaf": leaf}
    values["at"] = round(resources.clock.now().timestamp() * 1_000_000)
    insert = "INSERT INTO audit_entries (sequence, at, content, leaf_hash) VALUES (:sequence, :at, :content, :leaf)"
    connection.execute(text(insert), values)
    for level, position, value in nodes:
        row = {"level": level, "position": position, "value": value}
        connection.execute(
            text("INSERT INTO audit_nodes (level, position, hash) VALUES (:level, :position, :value)"), row
        )
