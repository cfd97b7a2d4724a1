"""What somebody with full rights over the database does to it: every column, every kind of value, rows that go.

The columns come from the tables themselves, so that a new one is altered as soon as it exists; the test fails until
`carried_by` classifies it. Values are raw, as SQLite stores them: times are microseconds since 1970.
"""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, Table

from app.crypto.token import digest
from app.db.column_types import UtcTime
from app.db.tables import metadata
from app.domain.share import ShareState
from app.domain.transfer import Ending, FileState, TransferState
from tests.full_rights import drop_triggers

TABLES = ("service_state", "transfers", "files", "shares", "claims", "audit_entries")
SECOND = 1_000_000
HOUR, DAY, YEARS = 3600 * SECOND, 86_400 * SECOND, 3650 * 86_400 * SECOND
HUGE = 2**63 - 1
CHOSEN_TOKEN = bytes(range(32))
"""A claim token of the attacker's own, whose digest may be written into a row."""


class Carries(Enum):
    """What a column decides, and so what must notice a lie in it."""

    PROMISE = auto()
    """Lifetime, single use, state, size, owner, clock or attestation: `audit retention` or `/readyz` is red."""

    INDEX = auto()
    """A copy of what an entry's content says: `audit verify` fails."""

    NOTHING = auto()
    """None of these: a lie in it may stay unnoticed, yet it must not break any promise either."""


CARRIES_NOTHING = {
    "service_state.id": "there is one row, and it is found without it",
    "service_state.created_at": "shown only",
    "service_state.clock_waited_seconds": "shown only: waiting is counted in memory and in the vault",
    "service_state.last_drill_at": "shown only: a drill proves nothing about a transfer",
    "service_state.outflow_refused_at": "prolongs windows of claims, never past an expiry",
    "service_state.intake_off_at": "refuses new transfers; those that exist live and end without it",
    "transfers.created_at": "shown, and the age from which a row without a key is an orphan; `expires_at` ends it",
    "transfers.closed_at": "refuses further files of the depositor, who needs the client key for them",
    "transfers.keep_until_expiry": "decides whether a transfer ends before its expiry, never after it",
    "transfers.label": "free text for people",
    "transfers.purpose": "free choice for statistics; the log has its own",
    "transfers.records": "a number for statistics; the log has its own",
    "transfers.owner_wrap": "authenticated: altered, it opens nothing",
    "transfers.ending": "shown; the log says why a transfer ended",
    "transfers.denied_at": "measures lateness; `state` decides",
    "service_state.clock_problem_boot_id": "each host judges its own clock, whatever is recorded",
    "service_state.clock_problem_at": "each host judges its own clock, whatever is recorded",
    "service_state.vault_problem_boot_id": "whose scheduler may clear it; the one that found it repeats it each second",
    "service_state.vault_problem_at": "when another may clear it; the scheduler that found it repeats it each second",
    "transfers.due_at": "when to look next: what is overdue is found by its expiry",
    "transfers.failures": "paces retries: what is overdue is found by its expiry",
    "files.sealed_meta": "authenticated: altered, it opens nothing",
    "files.created_at": "shown only",
    "files.lease_until": "when an upload is dead; `state` decides what is served",
    "shares.recipient": "free text for people",
    "shares.issued_at": "shown only",
    "shares.link_proof_digest": "refuses links; the link secret itself is key material",
    "shares.verifier_digest": "refuses passwords; the password itself is key material",
    "shares.argon2_salt": "input of key derivation: altered, it opens nothing",
    "shares.argon2_time": "input of key derivation: altered, it opens nothing",
    "shares.argon2_memory_kib": "input of key derivation: altered, it opens nothing",
    "shares.argon2_lanes": "input of key derivation: altered, it opens nothing",
    "shares.wrapped_key": "authenticated: altered, it opens nothing",
    "shares.attempts": "paces guesses at a password of 80 bits",
    "shares.failures": "paces guesses at a password of 80 bits",
    "shares.attempted_at": "paces guesses at a password of 80 bits",
    "shares.used_at": "shown only; `state` and the vault's record decide",
    "shares.ended_at": "shown only; `state` decides",
    "shares.link_seen_at": "keeps a repeated deposit from replacing the first, which its depositor may end at any time",
    "claims.id": "names the claim to its holder; its key is bound to this id",
    "claims.by_proof": "whether there is a wrapped key; without one nothing is decrypted here",
    "claims.wrapped_key": "authenticated: altered, it opens nothing",
    "claims.claimed_at": "shown only; the log has its own",
    "claims.window_until": "closes a claim before the expiry, never after it",
    "claims.allowance": "how often the one winner may fetch the same bytes",
    "claims.bytes_served": "how often the one winner may fetch the same bytes",
    "claims.bytes_reserved": "how often the one winner may fetch the same bytes",
    "claims.delivered_at": "how a share ends, completed or lapsed; its keys go either way",
    "audit_entries.event": "derived by the database from the content",
    "audit_entries.transfer": "derived by the database from the content",
}
CARRIES_AN_INDEX = {"audit_entries.at"}
CARRIES_A_PROMISE = {
    "service_state": "installation_id log_origin time_mark anchor_at anchor_boot_id anchor_boot_seconds"
    " clock_problem last_sweep_at locked_down_at rolled_back_at vault_problem",
    "transfers": "id token_id person owner state sealed expires_at verified_at",
    "files": "transfer_id number blob_id state size sealed_size",
    "shares": "id transfer_id state expires_at keys_destroyed_at",
    "claims": "share_id transfer_id token_digest",
    "audit_entries": "sequence content leaf_hash",
}


def every_column() -> list[Column[Any]]:
    """The columns of all tables that are altered."""
    return [column for name in TABLES for column in metadata.tables[name].columns]


def carried_by(table: str, column: str) -> Carries:
    """Classify a column. Raises KeyError for one that nobody has classified."""
    name = f"{table}.{column}"
    if name in CARRIES_NOTHING:
        return Carries.NOTHING
    if name in CARRIES_AN_INDEX:
        return Carries.INDEX
    if column in CARRIES_A_PROMISE[table].split():
        return Carries.PROMISE
    raise KeyError(f"{name} is new: say what a lie in it must make red, or why it carries nothing")


KEYS: dict[str, list[str]] = {"service_state": [], "claims": ["share_id"]}
"""What tells the rows of a table apart, where that is not the primary key: a share has one claim at the most."""

HISTORY = {"file.fetched", "password.wrong"}
"""Entries that say what people did and are no witness of a row: `audit verify` alone compares them."""


@dataclass(frozen=True)
class Target:
    """Whose rows are altered, and from which transfer other values are taken. `now` in microseconds since 1970."""

    transfers: tuple[str, ...]
    control: str
    now: int

    def rows_of(self, table: str) -> str:
        """The condition that selects the rows to alter. Before any deposit that is the whole log, and no transfer."""
        ids = ", ".join(f"'{each}'" for each in self.transfers)
        if table == "service_state" or (table == "audit_entries" and not ids):
            return "1"
        return f"{_owner_column(table)} IN ({ids})"


@dataclass(frozen=True)
class Alteration:
    """One act: the assignments to one column, or statements with `{rows of TABLE}` in them."""

    name: str
    statements: tuple[str, ...] = ()
    table: str = ""
    assignment: str = ""


@dataclass(frozen=True)
class Altered:
    """What an alteration changed, cell by cell."""

    cells: list["Cell"] = field(default_factory=list)


@dataclass(frozen=True)
class Cell:
    """One value that was altered, by the key that its row had; `ABSENT` where the row is gone. `owner`: the transfer
    that the row belonged to, if any.
    """

    table: str
    key: tuple[object, ...]
    column: str
    altered: object
    owner: object

    def __str__(self) -> str:
        """Name it as complaints do."""
        return f"deleted rows of {self.table}" if self.altered == ABSENT else f"{self.table}.{self.column}"

    def stands(self, rows: "Rows") -> bool:
        """Whether the altered value is still there."""
        row = rows.get((self.table, self.key))
        return (ABSENT if row is None else row[self.column]) == self.altered


ABSENT = "(no such row)"
Rows = dict[tuple[str, tuple[object, ...]], dict[str, object]]


# --- values, by type


def alterations_of(column: Column[Any]) -> list[Alteration]:
    """Every kind of alteration of one column."""
    table, name = column.table.name, column.name
    values = ({"null": "NULL"} if column.nullable else {}) | _values(column)
    return [Alteration(f"{table}.{name} {kind}", table=table, assignment=f"{name} = {v}") for kind, v in values.items()]


def _values(column: Column[Any]) -> dict[str, str]:
    name = column.name
    states = _STATES.get(f"{column.table.name}.{name}")
    if states:
        return {state: f"'{state}'" for state in (*states, "no such state")}
    for kind, values in _BY_TYPE:
        if isinstance(column.type, kind):
            return values(name) | _another_rows(column.table, name)
    return _texts(name) | _another_rows(column.table, name)


def _times(name: str) -> dict[str, str]:
    spans = {"an hour": HOUR, "a day": DAY, "ten years": YEARS}
    ways = {"earlier": "-", "later": "+"}
    return {f"{s} {w}": f"coalesce({name}, :now) {ways[w]} {spans[s]}" for s in spans for w in ways}


def _integers(name: str) -> dict[str, str]:
    return {"zero": "0", "one more": f"coalesce({name}, 0) + 1", "huge": str(HUGE), "negative": "-1"}


def _floats(name: str) -> dict[str, str]:
    return {
        "zero": "0.0",
        "an hour more": f"coalesce({name}, 0) + 3600.0",
        "ten years more": f"coalesce({name}, 0) + {YEARS // SECOND}.0",
        "negative": "-1.0",
    }


def _flags(name: str) -> dict[str, str]:
    return {"flipped": f"1 - {name}"}


def _bytes(name: str) -> dict[str, str]:
    return {"flipped": f"flipped({name})", "empty": "x''", "chosen": f"x'{digest(CHOSEN_TOKEN).hex()}'"}


def _texts(name: str) -> dict[str, str]:
    if name == "content":
        return {
            "empty": "''",
            "another size": "replace(content, '\"size\":', '\"size\":1')",
            "spaced": "content || ' '",
        }
    return {"empty": "''", "another": f"'{'A' * 22}'"}


_BY_TYPE: tuple[tuple[type, Callable[[str], dict[str, str]]], ...] = (
    (UtcTime, _times),
    (Boolean, _flags),
    (Float, _floats),
    (BigInteger, _integers),
    (Integer, _integers),
    (LargeBinary, _bytes),
)
_STATES: dict[str, list[str]] = {
    "transfers.state": [state.value for state in TransferState],
    "transfers.ending": [ending.value for ending in Ending],
    "files.state": [state.value for state in FileState],
    "shares.state": [state.value for state in ShareState],
}


def _another_rows(table: Table, name: str) -> dict[str, str]:
    """The untouched transfer's value, where it has such a row; else that of any other."""
    if table.name == "service_state":
        return {}
    others = f"{table.name} AS other WHERE other.rowid <> {table.name}.rowid"
    order = f"other.{_owner_column(table.name)} = :control DESC, other.rowid"
    return {"another row's": f"(SELECT other.{name} FROM {others} ORDER BY {order} LIMIT 1)"}


def _owner_column(table: str) -> str:
    return {"transfers": "id", "audit_entries": "transfer"}.get(table, "transfer_id")


# --- several at once, and rows that go


def _later(span: int) -> tuple[str, ...]:
    return (
        f"UPDATE transfers SET expires_at = expires_at + {span}, due_at = due_at + {span} WHERE {{rows of transfers}}",
        f"UPDATE shares SET expires_at = expires_at + {span} WHERE {{rows of shares}}",
        f"UPDATE claims SET window_until = window_until + {span} WHERE {{rows of claims}}",
    )


def _clock(span: int) -> str:
    return f"UPDATE service_state SET time_mark = time_mark + {span}, anchor_at = anchor_at + {span}"


_NO_CLAIMS = "DELETE FROM claims WHERE {rows of claims}"
_NO_SHARES = "DELETE FROM shares WHERE {rows of shares}"
_NO_FILES = "DELETE FROM files WHERE {rows of files}"
_NO_TRANSFERS = "DELETE FROM transfers WHERE {rows of transfers}"
_HIDDEN_FILES = (
    "UPDATE files SET transfer_id = :control, number = 900 + rowid, state = 'receiving', lease_until = NULL, size = 0,"
    " sealed_size = 0 WHERE {rows of files}"
)
_NO_ENTRIES = "DELETE FROM audit_entries WHERE {rows of audit_entries}"
_ISSUED_AGAIN = (
    "UPDATE shares SET state = 'issued', used_at = NULL, ended_at = NULL, attempts = 0, failures = 0"
    " WHERE {rows of shares}"
)
_NO_CLAIM_ENTRIES = "DELETE FROM audit_entries WHERE event IN ('share.claimed', 'file.fetched')"

COMBINED = [
    Alteration("claims deleted", (_NO_CLAIMS,)),
    Alteration("claims deleted, shares issued again", (_NO_CLAIMS, _ISSUED_AGAIN)),
    Alteration("claims and their entries deleted, shares issued again", (_NO_CLAIMS, _NO_CLAIM_ENTRIES, _ISSUED_AGAIN)),
    Alteration("shares deleted", (_NO_SHARES,)),
    Alteration("shares and claims deleted", (_NO_SHARES, _NO_CLAIMS)),
    Alteration("files deleted", (_NO_FILES,)),
    Alteration("transfers deleted", (_NO_TRANSFERS,)),
    Alteration("all rows of a transfer deleted", (_NO_CLAIMS, _NO_SHARES, _NO_FILES, _NO_TRANSFERS)),
    Alteration(
        "files hidden in another transfer as uploads without a lease, all other rows of a transfer deleted",
        (_NO_CLAIMS, _NO_SHARES, _HIDDEN_FILES, _NO_TRANSFERS),
    ),
    Alteration("entries deleted", (_NO_ENTRIES,)),
    Alteration("all entries deleted", ("DELETE FROM audit_entries",)),
    Alteration(
        "last entry deleted",
        ("DELETE FROM audit_entries WHERE sequence = (SELECT max(sequence) FROM audit_entries)",),
    ),
    Alteration(
        "entry of a deposit deleted",
        ("DELETE FROM audit_entries WHERE event = 'file.deposited' AND {rows of audit_entries}",),
    ),
    Alteration("service state deleted", ("DELETE FROM service_state",)),
    Alteration("every expiry a day later", _later(DAY)),
    Alteration("every expiry ten years later", _later(YEARS)),
    Alteration("every expiry an hour earlier", _later(-HOUR)),
    Alteration("every expiry ten minutes earlier", _later(-600 * SECOND)),
    Alteration("mark and anchor ten years later", (_clock(YEARS),)),
    Alteration("mark and anchor ten years earlier", (_clock(-YEARS),)),
    Alteration("mark and anchor an hour later", (_clock(HOUR),)),
    Alteration("mark and anchor an hour earlier", (_clock(-HOUR),)),
    Alteration(
        "everything live again",
        (
            "UPDATE transfers SET state = 'live', verified_at = NULL, denied_at = NULL WHERE {rows of transfers}",
            _ISSUED_AGAIN,
        ),
    ),
    Alteration(
        "everything verified",
        (
            "UPDATE transfers SET state = 'verified', verified_at = :now, due_at = NULL WHERE {rows of transfers}",
            "UPDATE shares SET state = 'expired', ended_at = :now, keys_destroyed_at = :now WHERE {rows of shares}",
        ),
    ),
    Alteration(
        "never due again", ("UPDATE transfers SET due_at = NULL, failures = 1000000 WHERE {rows of transfers}",)
    ),
]


# --- doing it


def alter(file: Path, alteration: Alteration, target: Target) -> Altered:
    """Do it, behind the service's back, and return what it changed: nothing where no row can take such a value."""
    connection = sqlite3.connect(file, timeout=10)
    try:
        connection.execute("PRAGMA ignore_check_constraints=ON")
        connection.create_function("flipped", 1, _flipped)
        before = _rows(connection)
        drop_triggers(connection)
        given = {"now": target.now, "control": target.control}
        for statement in _statements(connection, alteration, target):
            _try(connection, statement, given)
        connection.commit()
        return Altered(list(_differences(before, _rows(connection))))
    finally:
        connection.close()


def rows(file: Path) -> Rows:
    """Every row of the altered tables as it is now, by table and key."""
    connection = sqlite3.connect(file, timeout=10)
    try:
        return _rows(connection)
    finally:
        connection.close()


def _statements(connection: sqlite3.Connection, alteration: Alteration, target: Target) -> list[str]:
    if not alteration.table:
        return [_filled(statement, target) for statement in alteration.statements]
    chosen = f"SELECT rowid FROM {alteration.table} WHERE {target.rows_of(alteration.table)}"
    one = f"UPDATE {alteration.table} SET {alteration.assignment} WHERE rowid = "
    return [f"{one}{row}" for (row,) in connection.execute(chosen).fetchall()]


def _filled(statement: str, target: Target) -> str:
    for table in TABLES:
        statement = statement.replace(f"{{rows of {table}}}", target.rows_of(table))
    return statement


def _try(connection: sqlite3.Connection, statement: str, given: dict[str, object]) -> None:
    """A value that the schema itself refuses (NOT NULL, UNIQUE, a derived column) is no alteration."""
    try:
        connection.execute(statement, given)
    except (sqlite3.IntegrityError, sqlite3.OperationalError) as error:
        refused = ("constraint failed", "generated column", "datatype mismatch")
        if not any(reason in str(error) for reason in refused):
            raise


def _rows(connection: sqlite3.Connection) -> Rows:
    found: Rows = {}
    for name in TABLES:
        table = metadata.tables[name]
        columns = [column.name for column in table.columns]
        key = [columns.index(column) for column in KEYS.get(name, table.primary_key.columns.keys())]
        for row in connection.execute(f"SELECT {', '.join(columns)} FROM {name}"):
            found[name, tuple(row[each] for each in key)] = dict(zip(columns, row, strict=True))
    return found


def _differences(before: Rows, after: Rows) -> Iterator[Cell]:
    for (table, key), row in before.items():
        now = after.get((table, key))
        for column, value in row.items():
            changed = ABSENT if now is None else now[column]
            if changed != value:
                yield Cell(table, key, column, changed, _owner(table, row))


def _owner(table: str, row: dict[str, object]) -> object:
    return None if row.get("event") in HISTORY else row.get(_owner_column(table))


def _flipped(value: bytes | None) -> bytes | None:
    return bytes([value[0] ^ 1]) + value[1:] if value else value
