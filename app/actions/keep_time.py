"""First thing of every sweep: judge the clocks and the vault, and keep the time.

The time goes by the boot clock and the vault (app/domain/clock.py). The database is told of it, and its own word is
compared; it moves nothing. The mark goes into the vault with the log's size and root: a database restored from a backup
is shorter than the vault remembers, a vault restored from a copy is older than the signer's folder remembers. While
either, or a clock, is not believed, deposits and fetches are refused; destruction goes on by the count.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from app.db import service_rows
from app.domain.audit_events import Entry, Event
from app.domain.clock import AcceptanceReason, BootTime, Judgement
from app.lifecycle import rollback
from app.lifecycle.rollback import DatabaseRolledBack, VaultRolledBack
from app.runtime.resources import Resources
from app.storage.errors import StorageError, VaultUnavailable
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_time, write_boot_time

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Attended:
    """A judgement, the anchor to keep, and whether the host's clock was taken."""

    judgement: Judgement
    boot: BootTime
    taking: AcceptanceReason | None


def keep_time(resources: Resources) -> Judgement:
    """Judge, and keep the result. Raises, once every process refuses by it: DatabaseRolledBack; VaultRolledBack;
    StorageError when the vault or the signer's folder cannot be asked, or cannot keep the mark.
    """
    signing = SigningFolder(resources.settings.signing_dir)
    attended = _attend(resources, signing)
    doubted: StorageError | VaultRolledBack | None = None
    try:
        rollback.require_vault_not_rolled_back(resources.vault, signing)
    except (StorageError, VaultRolledBack) as error:
        doubted = error
    vault_problem = str(doubted)[:200] if isinstance(doubted, VaultRolledBack) else None
    _note(resources, attended, vault_problem)
    if doubted is not None:
        raise doubted
    try:
        rollback.keep(resources, attended.judgement.now)
    except DatabaseRolledBack:
        with resources.database.writing() as transaction:
            service_rows.note_rolled_back(transaction.connection, attended.judgement.now)
        raise
    rollback.remember_vault(resources.vault, signing)
    return attended.judgement


def keep_time_or_alert(resources: Resources) -> bool:
    """Keep the time; False when the vault or the database was rolled back, or the vault cannot keep the mark. Expiry
    never waits for that, but no such sweep counts as successful: the dead-man's switch goes.
    """
    try:
        keep_time(resources)
    except DatabaseRolledBack as error:
        log.error("database_rolled_back", detail=str(error), alert=True)
    except VaultRolledBack as error:
        log.error("vault_rolled_back", detail=str(error), alert=True)
    except StorageError as error:
        log.error("mark_not_kept", detail=str(error), alert=True)
    else:
        return True
    return False


def _attend(resources: Resources, signing: SigningFolder) -> _Attended:
    """Take over what the vault remembers, or what the signer's folder does of a vault that lost its marks; judge, and
    let the vault know of a new anchor or doubt. A vault that cannot be asked leaves the count as it is; one that cannot
    keep an anchor gets none.
    """
    clock, remembered = resources.clock, None
    try:
        time = read_time(resources.vault, clock.boot_id)
        remembered = time.boot
        clock.observe(time if time.knows_anything else rollback.time_by_signer(signing, clock.boot_id))
    except StorageError as error:
        log.error("mark_not_kept", detail=str(error), alert=True)
    with resources.database.reading() as connection:
        database = service_rows.get(connection).time
    judgement, boot, taking = clock.attend(database)
    if boot != remembered:
        try:
            write_boot_time(resources.vault, boot)
        except VaultUnavailable as error:
            log.error("mark_not_kept", detail=str(error), alert=True)
            boot, taking = clock.boot_time.doubting(boot), None
    clock.keep(boot)
    if taking:
        judgement = clock.judge()
    return _Attended(judgement, boot, taking)


def _note(resources: Resources, attended: _Attended, vault_problem: str | None) -> None:
    """Tell the database. What it says of the time stays as it is while that is not believed: the lie must show."""
    judgement, waited = attended.judgement, resources.clock.waited_seconds
    if judgement.problem:
        log.error("clock_not_trusted", problem=judgement.problem, waited_seconds=int(waited), alert=True)
    with resources.database.writing() as transaction:
        connection, now = transaction.connection, judgement.now
        state = service_rows.get(connection)
        if attended.taking:
            transaction.log(Entry(event=Event.CLOCK_ACCEPTED, at=now, actor="scheduler", outcome=attended.taking))
        elif judgement.problem and state.clock_problem is None:
            transaction.log(Entry(event=Event.CLOCK_DISTRUSTED, at=now, actor="scheduler"))
        if judgement.problem is None:
            service_rows.keep_mark(connection, now)
            service_rows.keep_anchor(connection, attended.boot.anchor)
        service_rows.keep_problems(connection, clock=judgement.problem, vault=vault_problem, waited_seconds=waited)
