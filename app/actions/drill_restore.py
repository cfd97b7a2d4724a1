"""Restore drill: prove that no ended transfer can be read from a real backup, restored into a folder of its own.

The drill fails on a vault file in the backup, and on a key in today's vault for a transfer or share of the backup that
has ended since. An unreadable file or folder may hide a vault file and counts as one. A backup in which nothing has
ended since proves nothing and does not pass. The result is logged, and the retention report shows the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.db import service_rows, share_rows, transfer_rows
from app.db.restored_rows import RestoredRows, RestoredTransfer
from app.domain.audit_events import Entry, Event
from app.domain.share import OPEN_STATES as OPEN_SHARES
from app.domain.transfer import OPEN_STATES, TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle.restored_backup import databases_in
from app.runtime.installation import InstallationMismatch
from app.runtime.resources import Resources
from app.storage.backup_search import search_backup


@dataclass(frozen=True, slots=True)
class DrillResult:
    """Result of a drill: the number of transfers in the backup, how many of them (`ended`) and of their shares
    (`shares_ended`) were open in the backup and have ended since, and the findings. If both are zero, an empty list of
    findings proves nothing.
    """

    transfers: int
    ended: int
    shares_ended: int
    findings: list[str]

    @property
    def proved_nothing(self) -> bool:
        """Whether the drill had nothing to check, because no key of the backup should be gone."""
        return not self.findings and not self.ended and not self.shares_ended

    @property
    def passed(self) -> bool:
        """Whether the drill had keys to check and found none."""
        return not self.findings and not self.proved_nothing


def drill_restore(resources: Resources, restored: Path, *, postgres_bin: Path | None = None) -> DrillResult:
    """Search a restored backup, which contains one database at any depth, and log the result. The running database is
    asked only what has ended since. `postgres_bin`: the folder of PostgreSQL's programs, if they are not found.

    Raises NotADirectoryError, FileNotFoundError, DatabaseUnavailable, DumpNotRead, NoPostgresProgram or
    VaultUnavailable if something cannot be inspected, since it then has not passed; InstallationMismatch for the backup
    of another installation, whose keys this vault never held.
    """
    if not restored.is_dir():
        raise NotADirectoryError(f"{restored} is not a folder: name the one that the whole backup was restored into")
    found = list(databases_in(restored, postgres_bin))
    known = found[0].accounts_for if len(found) == 1 else lambda _: False
    findings = list(search_backup(restored, resources.blobs, resources.vault, known))
    if len(found) != 1:
        counted = f"{restored} holds {len(found)} databases (*.sqlite, a dump or a base backup); one is needed"
        raise FileNotFoundError("; ".join([counted, *findings]))  # the findings may explain where the database is
    rows = _own(resources, found[0].rows())
    transfers = ended = shares_ended = 0
    for transfer in rows.transfers:
        transfers += 1
        gone = _ended_names(resources, transfer)
        open_then = {share.id for share in transfer.shares if share.state in OPEN_SHARES}
        ended += transfer.state in OPEN_STATES and any(name.share_id is None for name in gone)
        shares_ended += sum(name.share_id in open_then for name in gone)
        findings += [f"the vault still opens {name.transfer_id}" for name in gone if resources.vault.holds(name)]
        if _has_left_keys(transfer):
            findings.append(f"the backup still has a wrapped key of {transfer.id}, which was deleted before it")
    result = DrillResult(transfers, ended, shares_ended, sorted(findings))
    _write_down(resources, result)
    return result


def _own(resources: Resources, restored: list[RestoredRows]) -> RestoredRows:
    """Return the rows of this installation. Raises InstallationMismatch."""
    with resources.database.reading() as connection:
        own = service_rows.get(connection).installation_id
    for rows in restored:
        if rows.installation_id == own:
            return rows
    raise InstallationMismatch(
        "the backup belongs to another installation: the drill would prove nothing about this one"
    )


def _ended_names(resources: Resources, transfer: RestoredTransfer) -> list[EntryName]:
    """Return the transfer's keys that should be gone today: all if it has expired or ended, otherwise those of its
    ended shares.
    """
    now = resources.clock.now()
    with resources.database.reading() as connection:
        today = transfer_rows.find(connection, transfer.id)
        shares_today = {share.id: share.state for share in share_rows.of_transfers(connection, [transfer.id])}
    over = now >= transfer.expires_at or today is None or today.state not in OPEN_STATES
    ended = [share for share in transfer.shares if over or shares_today.get(share.id) not in OPEN_SHARES]
    names = [EntryName(transfer.id, share.expires_at, share.id) for share in ended]
    return [EntryName(transfer.id, transfer.expires_at), *names] if over else names


def _has_left_keys(transfer: RestoredTransfer) -> bool:
    """Return whether rows of a transfer that was verified as deleted still have wrapped keys."""
    wrapped = transfer.wrapped or any(share.wrapped for share in transfer.shares)
    return transfer.state == TransferState.VERIFIED and wrapped


def _write_down(resources: Resources, result: DrillResult) -> None:
    now = resources.clock.now()
    event = Event.DRILL_PASSED if result.passed else Event.DRILL_FAILED
    outcome = "proved_nothing" if result.proved_nothing else None
    with resources.database.writing() as transaction:
        transaction.log(Entry(event=event, at=now, actor="operator", count=result.ended, outcome=outcome))
        if result.passed:
            service_rows.record_drill(transaction.connection, now)
