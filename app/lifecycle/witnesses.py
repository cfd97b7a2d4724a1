"""Compare all rows with the log and the vault in both directions, page by page in constant memory.

Each transfer, with its files, shares and claims, is compared with its log entries and its names in the vault; each
name in the vault with its row; and each transfer that the log names must have a row. Requests and sweeps run
concurrently, so a contradiction counts only if a second comparison finds it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection

from app.crypto.proven_tree import ProvenTree
from app.db import audit_pruning, audit_size, audit_tree, service_rows, testimony_rows, transfer_rows, whole_transfers
from app.db.whole_transfers import WholeTransfer
from app.domain.audit_events import Event, log_time
from app.domain.reconciled import SHOWN, Contradiction
from app.domain.testimony import Testimony
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle.contradictions import Moment, VaultSight, is_hidden_end, judge, judge_name, names_to_look_for
from app.lifecycle.lost_rows import find_lost, left_of
from app.lifecycle.rollback import DatabaseRolledBack
from app.runtime.resources import Resources
from app.storage.vault_marks import read_high_water

PAGE = 500
HIDDEN_ENDS_KEPT = 10_000


@dataclass(slots=True)
class Comparison:
    """Numbers of transfers and vault names compared and of contradictions `found` (`shown` holds the first), and the
    open transfers that have ended according to the log but not their rows (`hidden_ends`).
    """

    transfers: int = 0
    names: int = 0
    found: int = 0
    shown: list[Contradiction] = field(default_factory=list)
    hidden_ends: list[str] = field(default_factory=list)

    def add(self, words: Iterable[str], transfer: str | None) -> None:
        """Count these contradictions of one transfer, or of the service's own row."""
        for word in sorted(words):
            self.found += 1
            contradiction = Contradiction(word, transfer)
            if len(self.shown) < SHOWN and contradiction not in self.shown:
                self.shown.append(contradiction)


def compare_everything(
    resources: Resources, *, verified_too: bool, prove: bool = False, lost_too: bool = True, due: datetime | None = None
) -> Comparison:
    """Compare all rows with the log and the vault.

    `verified_too` includes deleted transfers, until their personal data is erased. `prove` verifies each entry up to
    the root in the vault's mark. `lost_too` searches the log for transfers without a row. `due` (default: now) is the
    time by which a transfer that ended in the log but not in its row is a hidden end.

    Raises VaultUnavailable, DatabaseUnavailable, and with `prove` DatabaseRolledBack.
    """
    comparison, due = Comparison(), due or resources.clock.now()
    comparison.add(_of_service(resources), None)
    tree = _remembered_tree(resources) if prove else None
    for ids in _pages(resources, verified_too=verified_too):
        comparison.transfers += len(ids)
        first = _judge_rows(resources, ids, due, tree)
        suspects = [one for one, each in first.items() if each.words or each.hidden_end]
        again = _judge_rows(resources, suspects, due, tree)
        for transfer_id in ids:
            if transfer_id in again:
                comparison.add(first[transfer_id].words & again[transfer_id].words, transfer_id)
                if again[transfer_id].hidden_end and len(comparison.hidden_ends) < HIDDEN_ENDS_KEPT:
                    comparison.hidden_ends.append(transfer_id)
        if tree is not None:
            tree.forget_page()
    for transfer_id in _without_row(resources, due) if lost_too else ():
        comparison.add({"row_missing"}, transfer_id)
    every = resources.vault.names()
    while names := tuple(islice(every, PAGE)):
        comparison.names += len(names)
        for transfer_id, words in _judge_names(resources, names).items():
            comparison.add(words, transfer_id)
    return comparison


def compare_one(resources: Resources, transfer_id: str) -> set[str]:
    """Return the contradictions of one transfer, in its rows and in its vault entries."""
    found = resources.vault.find({transfer_id})
    words = {
        word
        for judged in _judge_rows(resources, [transfer_id], resources.clock.now()).values()
        for word in judged.words
    }
    words |= {word for each in _judge_names(resources, tuple(found.names)).values() for word in each}
    return words | ({"key_left"} if found.misplaced else set())


def _without_row(resources: Resources, due: datetime) -> set[str]:
    """Return transfers in the log that have no row; ended ones only if something of them is left."""
    lost = find_lost(resources, due)
    return lost.living.keys() | left_of(resources, lost)


class _Judgement(NamedTuple):
    words: set[str]
    hidden_end: bool


def _pages(resources: Resources, *, verified_too: bool) -> Iterator[list[str]]:
    after = ""
    while True:
        with resources.database.reading() as connection:
            ids = transfer_rows.ids_page(connection, after, PAGE, verified_too=verified_too)
        if not ids:
            return
        yield ids
        after = ids[-1]


def _judge_rows(
    resources: Resources, ids: list[str], due: datetime, tree: ProvenTree | None = None
) -> dict[str, _Judgement]:
    """Judge these transfers on one snapshot of the database; the vault is read after it."""
    if not ids:
        return {}
    judged: dict[str, _Judgement] = {}
    with resources.database.reading() as connection:
        wholes, unreadable = _load(connection, ids)
        testimonies = testimony_rows.of_transfers(connection, ids, leaves=tree is not None)
        unproven = {one for one in ids if tree is not None and not _is_proven(connection, testimonies[one], tree)}
        log_is_whole = audit_pruning.pruned_below(connection) == 0
    moment = Moment(resources.clock.now(), resources.settings.argon2, log_is_whole)
    sights = _sights(resources, wholes, testimonies)
    for whole in wholes:
        own = whole.transfer.id
        words = judge(whole, testimonies[own], sights[own], moment)
        if own in unproven:
            words.add("entry_unproven")
        judged[own] = _Judgement(words, is_hidden_end(whole, testimonies[own], due))
    return judged | {one: _Judgement({"unreadable"}, hidden_end=False) for one in unreadable}


def _load(connection: Connection, ids: list[str]) -> tuple[list[WholeTransfer], list[str]]:
    """Return these transfers, and the ids of those whose rows cannot be read."""
    try:
        return list(whole_transfers.load(connection, transfer_rows.find_all(connection, ids))), []
    except (ValueError, TypeError):
        if len(ids) == 1:
            return [], ids
    middle = len(ids) // 2
    (left, broken), (right, also_broken) = (_load(connection, half) for half in (ids[:middle], ids[middle:]))
    return left + right, broken + also_broken


def _sights(
    resources: Resources, wholes: list[WholeTransfer], testimonies: dict[str, Testimony]
) -> dict[str, VaultSight]:
    wanted = {whole.transfer.id: names_to_look_for(whole, testimonies[whole.transfer.id]) for whole in wholes}
    held = resources.vault.held(name for names in wanted.values() for name in names)
    sights: dict[str, VaultSight] = {}
    for transfer_id, names in wanted.items():
        there = frozenset(names & held)
        recorded = {name.share_id: resources.vault.claim_recorded(name) for name in there if name.claimed}
        claims = {share_id: digest for share_id, digest in recorded.items() if share_id and digest is not None}
        sights[transfer_id] = VaultSight(there, claims)
    return sights


def _judge_names(resources: Resources, names: tuple[EntryName, ...]) -> dict[str, set[str]]:
    """Return the contradictions of vault names that still exist after the rows were read."""
    first = _words_of_names(resources, names)
    suspects = resources.vault.held(first) if first else set()
    again = _words_of_names(resources, tuple(suspects))
    words: dict[str, set[str]] = {}
    for name in again:
        words.setdefault(name.transfer_id, set()).update(again[name] & first[name])
    return words


def _words_of_names(resources: Resources, names: tuple[EntryName, ...]) -> dict[EntryName, set[str]]:
    if not names:
        return {}
    with resources.database.reading() as connection:
        wholes, unreadable = _load(connection, list({name.transfer_id for name in names}))
    rows = {whole.transfer.id: whole for whole in wholes}
    readable = (name for name in names if name.transfer_id not in unreadable)
    judged = {name: judge_name(name, rows.get(name.transfer_id)) for name in readable}
    return {name: words for name, words in judged.items() if words}


def _remembered_tree(resources: Resources) -> ProvenTree | None:
    """Return the tree of the vault's mark with its peaks proved, or None before the first mark."""
    remembered = read_high_water(resources.vault)
    if remembered is None:
        return None
    try:
        with resources.database.reading() as connection:
            return ProvenTree(remembered.log_size, remembered.log_root, audit_tree.node_reader(connection))
    except (KeyError, ValueError):
        raise DatabaseRolledBack("database_rolled_back: the log differs from the vault's mark") from None


def _is_proven(connection: Connection, testimony: Testimony, tree: ProvenTree) -> bool:
    """Return whether all entries covered by the vault's mark lie in its tree; a later run checks newer ones. For a
    deleted transfer only its last entry is checked.
    """
    leaves = testimony.leaves or {}
    asked = sorted(leaves)[-1:] if testimony.state == TransferState.VERIFIED else leaves
    node = audit_tree.node_reader(connection)
    return all(tree.holds(sequence, leaves[sequence], node) for sequence in asked if sequence < tree.size)


def _of_service(resources: Resources) -> Iterator[str]:
    """Yield the contradictions of the service's own row. Facts pruned from the log are not compared."""
    remembered = read_high_water(resources.vault)
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
        pruned = audit_pruning.pruned_below(connection) > 0
        lockdown = testimony_rows.last_of(connection, Event.LOCKDOWN_BEGUN, Event.LOCKDOWN_LIFTED)
        drill = testimony_rows.last_of(connection, Event.DRILL_PASSED)
        started = testimony_rows.last_of(connection, Event.LOG_STARTED)
        stray = audit_size.stray_entry(connection)
    if stray is not None:
        yield "entry_stray"
    entries = [entry for entry in (lockdown, drill, started) if entry is not None]
    if not all(entry.sound and isinstance(entry.fields.get("time"), str) for entry in entries):
        yield "entry_altered"
        return
    if any(entry.fields["time"] != log_time(entry.at) for entry in entries):
        yield "entry_time"
    begun = lockdown is not None and lockdown.fields.get("event") == Event.LOCKDOWN_BEGUN
    if (lockdown is not None or not pruned) and (state.locked_down_at is not None) != begun:
        yield "lockdown"
    passed_at = drill.fields["time"] if drill is not None else None
    drilled_at = log_time(state.last_drill_at) if state.last_drill_at is not None else None
    if (drill is not None or not pruned) and drilled_at != passed_at:
        yield "last_drill_at"
    if started is not None and log_time(state.created_at) != started.fields["time"]:
        yield "created_at"
    if remembered is not None and remembered.log_origin not in {None, state.log_origin}:
        yield "log_origin"
