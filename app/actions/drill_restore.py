"""Restore drill: prove that no ended transfer can be read from a real backup, restored into a folder of its own.

The drill fails on a vault file in the backup, and on a key in today's vault for a transfer or share of the backup that
has ended since. An unreadable file or folder may hide a vault file and counts as one. A backup in which nothing has
ended since proves nothing and does not pass. The result is logged, and the retention report shows the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.db import service_rows, share_rows, transfer_rows, whole_transfers
from app.db.engine import Database
from app.db.whole_transfers import WholeTransfer
from app.domain.audit_events import Entry, Event
from app.domain.share import OPEN_STATES as OPEN_SHARES
from app.domain.transfer import OPEN_STATES
from app.domain.vault_entry import EntryName
from app.runtime.installation import InstallationMismatch
from app.runtime.resources import Resources
from app.storage.backup_search import search_backup

PAGE = 500


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


def drill_restore(resources: Resources, restored: Path) -> DrillResult:
    """Search a restored data folder, which contains `db/caducee.sqlite` at any depth, and log the result.

    Raises NotADirectoryError, FileNotFoundError, DatabaseUnavailable or VaultUnavailable if something cannot be
    inspected, since it then has not passed; InstallationMismatch for the backup of another installation, whose keys
    this vault never held.
    """
    if not restored.is_dir():
        raise NotADirectoryError(f"{restored} is not a folder: name the one that the whole backup was restored into")
    findings = list(search_backup(restored, resources.blobs, resources.vault))
    transfers = ended = shares_ended = 0
    with _restored_database(restored, findings) as database:
        _require_own(resources, database)
        for page in _pages(database):
            transfers += len(page)
            for whole in page:
                gone = _ended_names(resources, whole)
                open_then = {share.id for share in whole.shares if share.state in OPEN_SHARES}
                ended += whole.transfer.state in OPEN_STATES and any(name.share_id is None for name in gone)
                shares_ended += sum(name.share_id in open_then for name in gone)
                findings += [
                    f"the vault still opens {name.transfer_id}" for name in gone if resources.vault.holds(name)
                ]
    result = DrillResult(transfers, ended, shares_ended, findings)
    _write_down(resources, result)
    return result


@contextmanager
def _restored_database(restored: Path, findings: list[str]) -> Iterator[Database]:
    candidates = [*restored.rglob("*.sqlite")]
    if len(candidates) != 1:
        counted = f"{restored} holds {len(candidates)} databases (*.sqlite); one is needed"
        raise FileNotFoundError("; ".join([counted, *findings]))  # the findings may explain where the database is
    database = Database(f"sqlite:///{candidates[0].resolve()}")
    try:
        yield database
    finally:
        database.close()


def _require_own(resources: Resources, restored: Database) -> None:
    with resources.database.reading() as ours, restored.reading() as theirs:
        found = service_rows.find(theirs)
        if found is None or found.installation_id != service_rows.get(ours).installation_id:
            raise InstallationMismatch(
                "the backup belongs to another installation: the drill would prove nothing about this one"
            )


def _pages(database: Database) -> Iterator[list[WholeTransfer]]:
    after = ""
    while True:
        with database.reading() as connection:
            page = whole_transfers.load(connection, transfer_rows.page(connection, after, PAGE))
        if not page:
            return
        yield page
        after = page[-1].transfer.id


def _ended_names(resources: Resources, whole: WholeTransfer) -> list[EntryName]:
    """Return the transfer's keys that should be gone today: all if it has expired or ended, otherwise those of its
    ended shares.
    """
    now, row = resources.clock.now(), whole.transfer
    with resources.database.reading() as connection:
        today = transfer_rows.find(connection, row.id)
        shares_today = {share.id: share.state for share in share_rows.of_transfers(connection, [row.id])}
    over = now >= row.expires_at or today is None or today.state not in OPEN_STATES
    ended = [share for share in whole.shares if over or shares_today.get(share.id) not in OPEN_SHARES]
    names = [EntryName(row.id, share.expires_at, share.id) for share in ended]
    return [EntryName(row.id, row.expires_at), *names] if over else names


def _write_down(resources: Resources, result: DrillResult) -> None:
    now = resources.clock.now()
    event = Event.DRILL_PASSED if result.passed else Event.DRILL_FAILED
    outcome = "proved_nothing" if result.proved_nothing else None
    with resources.database.writing() as transaction:
        transaction.log(Entry(event=event, at=now, actor="operator", count=result.ended, outcome=outcome))
        if result.passed:
            service_rows.record_drill(transaction.connection, now)
