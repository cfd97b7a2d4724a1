"""The check before a checkpoint is signed: entries that only the scheduler writes were written by the scheduler.

Whoever takes over a process that faces the network can write to the database, and could otherwise have a deletion
signed that never happened, and hand out its receipt. So the signer believes nothing of the database but what it can
check: the tree up to the last checkpoint by that checkpoint's root, every later entry by its content, and every later
entry that claims a destruction by the signer's own record (app/storage/own_entries.py). It computes the root from the
entries that it checked, not from the tree's stored nodes.

The check runs where the record was begun, which the scheduler does under CADUCEE_SEPARATE_USERS.
"""

from __future__ import annotations

import json

from sqlalchemy import Connection

from app.crypto import merkle
from app.crypto.canonical_json import canonical_json
from app.crypto.signed_note import Checkpoint
from app.crypto.tree_edge import TreeEdge
from app.db import audit_rows, audit_size, audit_tree, service_rows
from app.domain.audit_events import ONLY_BY_SCHEDULER
from app.runtime.resources import Resources
from app.storage.own_entries import Beginning, OwnEntries


class LogForged(Exception):
    """The log contains an entry that only the scheduler may write but did not write: `log_forged`."""


def begin_record(resources: Resources, *, anew: bool = False) -> None:
    """Begin the signer's record at the log's present end, if the users are separate and there is none. What the log
    contains now is believed. `anew`: begin again if there is one, after an operator accepted another log origin.

    Raises SigningUnavailable.
    """
    own = OwnEntries(resources.settings.signing_dir)
    begun = own.beginning() is not None
    if begun != anew or not (begun or resources.settings.separate_users):
        return
    with resources.database.reading() as connection:
        size = audit_size.size(connection)
        origin = service_rows.get(connection).log_origin
        own.begin(Beginning(origin, size, audit_tree.root(connection, size)))


def proved_root(connection: Connection, own: OwnEntries, beginning: Beginning, signed: Checkpoint | None) -> bytes:
    """Return the root over all entries of the log. `signed` is the last checkpoint of this origin.

    Raises LogForged, SigningUnavailable.
    """
    size = audit_size.size(connection)
    if service_rows.get(connection).log_origin != beginning.origin:
        raise LogForged("the log has another origin than the signer's record")
    start, root = beginning.size, beginning.root
    if signed is not None and signed.size >= start:
        start, root = signed.size, signed.root
    try:
        edge = TreeEdge(start, audit_tree.node_reader(connection))
    except KeyError:
        raise LogForged(f"entries are missing among the first {start}") from None
    if edge.root() != root:
        raise LogForged(f"the first {start} entries are not those that the signer knows")
    leaves = own.leaves()
    with audit_rows.raw_page(connection, start, size) as rows:
        for sequence, content, stored, _ in rows:
            leaf = _leaf(stored)
            if sequence != edge.size:
                raise LogForged(f"entry {edge.size} is missing")
            if leaf not in leaves:
                _require_harmless(sequence, content, leaf)
            edge.add(leaf)
    if edge.size != size:
        raise LogForged(f"entry {edge.size} is missing")
    return edge.root()


def _leaf(stored: object) -> bytes:
    """Return a stored leaf hash; SQLite stores values of any type."""
    return bytes(stored) if isinstance(stored, (bytes, memoryview)) else b""


def _require_harmless(sequence: int, content: object, leaf: bytes) -> None:
    """Raise LogForged unless an entry that is not in the record is one that other processes may write.

    Only the canonical form is accepted: readers may differ about any other, such as one that names its event twice.
    """
    if not isinstance(content, str) or merkle.leaf_hash(content.encode("utf-8", "surrogatepass")) != leaf:
        raise LogForged(f"entry {sequence} is not what its hash says")
    try:
        fields = json.loads(content)
        canonical = isinstance(fields, dict) and canonical_json(fields) == content.encode()
    except (ValueError, RecursionError):
        canonical = False
    if not canonical:
        raise LogForged(f"entry {sequence} is no entry of the log")
    if fields.get("event") in ONLY_BY_SCHEDULER:
        raise LogForged(f"entry {sequence} says {fields['event']}, and the scheduler did not write it")
